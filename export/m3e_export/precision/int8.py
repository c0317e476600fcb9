"""Int8 matrices that are exact on every processor, rounded to keep what comes out of them.

x86 without VNNI multiplies unsigned activations with signed weights and adds the products in 16 bits, with
saturation in pairs (``vpmaddubsw``): 255 · 127 · 2 does not fit, sums are clipped silently and the ranking
suffers. The usual cure gives up one bit of every weight. Here the scale of each output channel is chosen so
that no sum can exceed the 16 bits: activations are not negative, so a sum is largest when only the weights
of one sign count, and ``255 · Σ ≤ 32767`` over those of each sign is enough. Large weights of one sign seldom
stand side by side: for MiniLM this costs a third of a bit in pairs, and two thirds in fours, which the native
engine adds in 16 bits to save every second widening. The same file gives the same integers with and without
VNNI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.precision.rounding import SUM_LIMIT, error_feedback, round_in_order, shared_sums, signed_sums

__all__ = ["InputStatistics", "QuantizedLinear", "quantize_linear"]

_SMALLEST = np.float32(1e-30)  # the scale of a column of zeros: any would do, this keeps it finite

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedLinear:
    """A matrix in int8.

    ``weight ≈ codes · scales`` with codes int8 ``[inputs, outputs]`` and scales float32 ``[outputs]``,
    for inputs that had ``shift`` added, which leaves none below zero (None: nothing, and both signs), and
    were then multiplied by ``smoothing`` (float32 ``[inputs]``, None for ones); ``bias`` is corrected for
    the shift, and for the mean of the rounding errors.
    ``input_scale`` is the scale of the inputs' codes where all rows share one, else None.
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
    """What the inputs of a matrix are like.

    ``mean`` float32 ``[inputs]`` and ``covariance`` float32 ``[inputs, inputs]`` before shift and smoothing;
    ``noise`` the mean square error of their own codes, after both.
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
    """Quantize the weights of ``linear`` per output channel, without any 16-bit sum that can saturate.

    Args:
        linear: the float matrix.
        smoothing: factors on the inputs, ``[inputs]``; the weights are divided by them.
        shift: constant added to the inputs before smoothing, so that none is negative.
        together: how many products the engine adds in 16 bits, 2 or 4; 1: it adds them in 32.
        statistics: of the inputs. With them each weight is rounded to make up for those before it, else to
            the nearest code.
    """
    factors = np.ones(len(linear.weight), np.float32) if smoothing is None else smoothing
    weight = linear.weight / factors[:, None]
    sums = shared_sums(len(weight), together)
    scales = np.maximum(np.abs(weight).max(axis=0) / 127, signed_sums(weight, sums).max(axis=0) / SUM_LIMIT)
    scales = np.maximum(scales, _SMALLEST).astype(np.float32)
    feedback = None
    if statistics is not None:
        feedback = error_feedback(statistics.covariance * np.outer(factors, factors), statistics.noise)
    codes = round_in_order(weight / scales, sums, feedback)
    kept = codes.astype(np.float32) * scales
    bias = linear.bias - np.float32(shift or 0) * (factors @ kept)
    if statistics is not None:
        bias = bias + (statistics.mean * factors) @ (weight - kept)
    return QuantizedLinear(linear.name, codes, scales, bias.astype(np.float32), smoothing, shift)
