"""Matrices in int8 with the same results on every processor.

x86 without VNNI multiplies unsigned activations by signed weights and adds pairs of products in 16 bits with
saturation (``vpmaddubsw``). 255 · 127 · 2 exceeds 16 bits: sums are clipped silently, and the ranking
suffers. The usual remedy is to use 7 bits for every weight. Here the scale of each output channel is large
enough that no sum can exceed 16 bits. Activations are not negative, so it suffices that ``255 · Σ ≤ 32767``
holds for the weights of each sign. Large weights of one sign are seldom adjacent: for MiniLM this costs a
third of a bit in pairs. It costs two thirds in fours, which the native engine adds in 16 bits to widen half
as often. The same file gives the same integers with and without VNNI.

:mod:`rounding` holds the rounding itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.precision.rounding import SUM_LIMIT, error_feedback, round_in_order, shared_sums, signed_sums

__all__ = ["InputStatistics", "QuantizedLinear", "quantize_linear"]

_SMALLEST = np.float32(1e-30)  # the scale of a column of zeros

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedLinear:
    """A matrix in int8.

    ``weight ≈ codes · scales``, with codes int8 ``[inputs, outputs]`` and scales float32 ``[outputs]``.
    ``shift`` is added to the inputs so that none is negative; None adds nothing and allows both signs. The
    inputs are then multiplied by ``smoothing``, float32 ``[inputs]``; None stands for ones. ``bias`` is
    corrected for the shift and for the mean of the rounding errors. ``input_scale`` is the scale of the
    inputs' codes if all rows share one, else None.
    """

    name: str
    codes: npt.NDArray[np.int8]
    scales: Array
    bias: Array
    smoothing: Array | None = None
    shift: float | None = None
    input_scale: float | None = None


@dataclass(frozen=True)
class InputStatistics:
    """Statistics of the inputs of a matrix.

    ``mean``, float32 ``[inputs]``, and ``covariance``, float32 ``[inputs, inputs]``, are those before shift
    and smoothing. ``noise`` is the mean square error of the inputs' codes after both.
    """

    mean: Array
    covariance: Array
    noise: float


def quantize_linear(
    linear: Linear,
    smoothing: Array | None = None,
    shift: float | None = None,
    together: int = 2,
    statistics: InputStatistics | None = None,
) -> QuantizedLinear:
    """Quantize ``linear`` with a scale per output channel, such that no 16-bit sum can saturate.

    Args:
        linear: the float matrix.
        smoothing: factors on the inputs, ``[inputs]``; the weights are divided by them.
        shift: constant added to the inputs before smoothing, so that none is negative.
        together: number of products that the engine adds in 16 bits, 2 or 4; 1 if it adds in 32.
        statistics: of the inputs. With them, the rounding of each weight compensates for those before it;
            without, each weight is rounded to the nearest code.
    """
    factors = np.ones(len(linear.weight), np.float32) if smoothing is None else smoothing
    weight = linear.weight / factors[:, None]
    sums = shared_sums(len(weight), together)
    scales = np.maximum(np.abs(weight).max(axis=0) / 127, signed_sums(weight, sums).max(axis=0) / SUM_LIMIT)
    scales = np.maximum(scales, _SMALLEST).astype(np.float32)
    feedback = None
    if statistics is not None:
        feedback = error_feedback(statistics.covariance, factors, statistics.noise)
    codes = round_in_order(weight / scales, sums, feedback)
    kept = codes.astype(np.float32) * scales
    bias = linear.bias - np.float32(shift or 0) * (factors @ kept)
    if statistics is not None:
        bias = bias + (statistics.mean * factors) @ (weight - kept)
    return QuantizedLinear(linear.name, codes, scales, bias.astype(np.float32), smoothing, shift)
