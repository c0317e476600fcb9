"""Rounding a matrix to 8-bit codes, input by input. :func:`round_in_order` does it.

Rounding to the nearest code minimizes the error of the weights, not that of the products. The inputs of a
matrix are correlated, so later inputs can compensate for the rounding error of earlier ones. This is GPTQ
(https://arxiv.org/abs/2210.17323) in the equivalent form LDLQ, which needs one Cholesky decomposition and no
inverse (QuIP, https://arxiv.org/abs/2307.13304, equations 2 and 3). A weight that a limit keeps from its
nearest code is compensated for in the same way.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

__all__ = ["SUM_LIMIT", "error_feedback", "round_in_order", "shared_sums", "signed_sums"]

SUM_LIMIT = 32767 // 255
"""The largest sum of weight codes of one sign in a 16-bit sum with activation codes up to 255: 128."""

_DAMPING = 0.01  # of the mean variance, added to each variance; GPTQ's value
_PANEL = 128  # columns of a step of the decomposition
_one_at_a_time = threading.Lock()  # for the memory; other threads round meanwhile
_BLOCK = 64  # inputs per large product; it only affects speed

Array = npt.NDArray[np.float32]


def shared_sums(inputs: int, together: int) -> npt.NDArray[np.intp]:
    """The number of the 16-bit sum that each input's products are added to, ``[inputs]``.

    With two together, inputs 2k and 2k + 1 share a sum. With four, of every eight inputs 0, 1, 4, 5 and
    2, 3, 6, 7 do: the engine adds two vectors in which each 32 bits hold four inputs. With one, none do.
    """
    k = np.arange(inputs)
    return {1: k, 2: k // 2, 4: k // 8 * 2 + k % 4 // 2}[together]


def signed_sums(weight: Array, sums: npt.NDArray[np.intp]) -> Array:
    """The larger of the sums of positive and of negative weights, ``[number of sums, outputs]``."""
    order = np.argsort(sums, kind="stable")
    first = np.searchsorted(sums[order], np.arange(sums.max() + 1))
    positive, negative = (
        np.add.reduceat(np.maximum(sign * weight, 0)[order], first, axis=0) for sign in (1, -1)
    )
    larger: Array = np.maximum(positive, negative)
    return larger


def error_feedback(covariance: Array, factors: Array, noise: float) -> Array:
    """The share of each earlier input's error that is added to each input, float32 ``[inputs, inputs]``.

    Args:
        covariance: of the inputs before smoothing, ``[inputs, inputs]``.
        factors: the smoothing, ``[inputs]``.
        noise: mean square error of the rounding of the inputs.
    """
    with _one_at_a_time:
        damped = covariance[::-1, ::-1].astype(np.float64)
        damped *= factors[::-1]
        damped *= factors[::-1, None]
        damped[np.diag_indices_from(damped)] += noise + _DAMPING * np.trace(damped) / len(damped) + 1e-12
        # H = U D Uᵀ with U upper unitriangular: a Cholesky decomposition from the last input to the first.
        _cholesky(damped)
        damped /= np.diag(damped).copy()
        np.fill_diagonal(damped, 0)
        return np.ascontiguousarray(damped[::-1, ::-1], np.float32)


def _cholesky(matrix: npt.NDArray[np.float64]) -> None:
    """Replace ``matrix`` by its lower Cholesky factor. NumPy's function makes three copies of it."""
    for begin in range(0, len(matrix), _PANEL):
        end = begin + _PANEL
        panel = matrix[begin:, begin:end]
        panel -= matrix[begin:, :begin] @ matrix[begin:end, :begin].T
        top = np.linalg.cholesky(panel[:_PANEL])
        panel[_PANEL:] = panel[_PANEL:] @ np.linalg.inv(top).T
        panel[:_PANEL] = top
        matrix[begin:end, end:] = 0


def round_in_order(weight: Array, sums: npt.NDArray[np.intp], feedback: Array | None) -> npt.NDArray[np.int8]:
    """Round ``weight``, ``[inputs, outputs]`` in units of the scales, to int8 codes of the same shape.

    The codes of one sign in a 16-bit sum add up to :data:`SUM_LIMIT` at most. ``feedback`` is that of
    :func:`error_feedback`; None rounds to the nearest code.
    """
    if feedback is None:
        return _round_to_nearest(weight, sums)
    codes = np.zeros(weight.shape, np.int8)
    error = np.zeros_like(weight)
    room = _Room(sums, weight.shape[1])
    for begin in range(0, len(weight), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        target = weight[block] + feedback[:begin, block].T @ error[:begin]
        for offset, row in enumerate(target):
            k = begin + offset
            row += feedback[begin:k, k] @ error[begin:k]
            rounded = room.take(row, sums[k])
            codes[k] = rounded
            error[k] = weight[k] - rounded
    return codes


def _round_to_nearest(weight: Array, sums: npt.NDArray[np.intp]) -> npt.NDArray[np.int8]:
    """Round without feedback: first one input of every sum, then the second, and so on."""
    codes = np.zeros(weight.shape, np.int8)
    room = _Room(sums, weight.shape[1])
    order = np.argsort(sums, kind="stable")
    place = np.arange(len(sums)) - np.searchsorted(sums[order], sums[order])
    for each in range(place.max() + 1):
        rows = order[place == each]
        codes[rows] = room.take(weight[rows], sums[rows])
    return codes


class _Room:
    """The remainder of each sum's limit, for the codes of each sign."""

    def __init__(self, sums: npt.NDArray[np.intp], outputs: int) -> None:
        self._positive: Array = np.full((sums.max() + 1, outputs), SUM_LIMIT, np.float32)
        self._negative = self._positive.copy()

    def take(self, wanted: Array, of: npt.NDArray[np.intp]) -> Array:
        """The nearest codes to ``wanted`` within the limits of the sums ``of``, which are reduced."""
        lowest, highest = -np.minimum(self._negative[of], 127), np.minimum(self._positive[of], 127)
        rounded: Array = np.clip(np.rint(wanted), lowest, highest)
        self._positive[of] -= np.maximum(rounded, 0)
        self._negative[of] -= np.maximum(-rounded, 0)
        return rounded
