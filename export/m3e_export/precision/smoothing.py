"""Smoothing: moving outliers from activations into weights.

Smoothing multiplies input channel j by ``wⱼ^(1−α) / aⱼ^α`` (a: largest activation, w: largest weight of
the channel) and divides the weights by it: SmoothQuant, https://arxiv.org/abs/2211.10438, equation 4.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.precision.activations import ActivationCodes
from m3e_export.precision.input_sample import InputSample
from m3e_export.precision.int8 import InputStatistics, QuantizedLinear

__all__ = ["fold_smoothing", "input_statistics", "relative_error", "smoothing_factors"]

_FLOOR = 1e-5  # SmoothQuant's own floor for dead channels

Array = npt.NDArray[np.float32]


def smoothing_factors(weight: Array, largest: Array, strength: float) -> Array:
    """Factors on the inputs of ``weight`` (``[inputs, outputs]``), float32 ``[inputs]``, geometric mean 1."""
    activations = np.maximum(largest, _FLOOR)
    weights = np.maximum(np.abs(weight).max(axis=1), _FLOOR)
    factors = weights ** (1 - strength) / activations**strength
    centred: Array = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return centred


def fold_smoothing(
    first: QuantizedLinear, second: QuantizedLinear
) -> tuple[QuantizedLinear, QuantizedLinear]:
    """Move the smoothing of ``second`` into the last columns of ``first``, which have a scale each already.

    The input of ``second`` must be linear in these columns. So is the attention's context, a weighted mean of
    values, and so is the product of a gated feed-forward part, an activation times a factor.
    """
    if second.smoothing is None:
        return first, second
    others = len(first.scales) - len(second.smoothing)
    factors = np.concatenate([np.ones(others, np.float32), second.smoothing])
    smoothed = dataclasses.replace(first, scales=first.scales * factors, bias=first.bias * factors)
    return smoothed, dataclasses.replace(second, smoothing=None)


def relative_error(
    linear: Linear, quantized: QuantizedLinear, activations: ActivationCodes, sample: InputSample
) -> float:
    """Squared error of the integer product on the sampled inputs, relative to the exact product's energy."""
    rows = sample.rows()
    exact = rows @ linear.weight + linear.bias
    return float(
        np.square(_simulate(quantized, activations, rows) - exact).sum() / (np.square(exact).sum() + 1e-30)
    )


def input_statistics(
    activations: ActivationCodes, sample: InputSample, smoothing: Array | None, shift: float | None
) -> InputStatistics:
    """The statistics of a matrix's inputs, for the rounding of its weights."""
    x = _prepared(sample.rows(), smoothing, shift)
    noise = np.square(activations.rounded(x, shift) - x).mean()
    return InputStatistics(sample.mean(), sample.covariance(), float(noise))


def _simulate(linear: QuantizedLinear, activations: ActivationCodes, rows: Array) -> Array:
    """The integer product of ``rows``, ``[n, inputs]``; float32 ``[n, outputs]``."""
    x = _prepared(rows, linear.smoothing, linear.shift)
    product: Array = activations.rounded(x, linear.shift) @ linear.codes.astype(np.float32)
    return product * linear.scales + linear.bias


def _prepared(rows: Array, smoothing: Array | None, shift: float | None) -> Array:
    x = rows + np.float32(shift or 0)
    return x if smoothing is None else x * smoothing
