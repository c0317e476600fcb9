"""Moving outliers from activations into weights, each matrix with the strength that suits it.

Smoothing multiplies input channel j by ``wⱼ^(1−α) / aⱼ^α`` (a: largest activation, w: largest weight of
the channel) and divides the weights by it: SmoothQuant, https://arxiv.org/abs/2211.10438, equation 4.
There α is one number for a model; here each matrix tries several on its own sampled inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.precision.calibration import InputSample
from m3e_export.precision.int8 import ZERO_POINT, QuantizedLinear, quantize_linear

__all__ = ["Candidate", "best_quantization"]

STRENGTHS = (None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_FLOOR = 1e-5
_WORTH = 0.8
"""A smoothed form must err this much less than the plain one: smoothing costs a pass over the inputs."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A quantized matrix and its relative squared error on the sampled inputs."""

    linear: QuantizedLinear
    error: float


def best_quantization(linear: Linear, sample: InputSample, shift: float) -> Candidate:
    """The quantization of ``linear`` with the smallest output error on ``sample``."""
    rows = sample.rows()
    exact = rows @ linear.weight + linear.bias
    energy = float(np.square(exact).sum()) + 1e-30
    candidates = []
    for strength in STRENGTHS:
        factors = None if strength is None else _factors(linear.weight, sample.largest, strength)
        quantized = quantize_linear(linear, factors, shift)
        error = float(np.square(simulate(quantized, rows) - exact).sum()) / energy
        candidates.append(Candidate(quantized, error))
    plain, best = candidates[0], min(candidates, key=lambda candidate: candidate.error)
    return best if best.error < _WORTH * plain.error else plain


def simulate(linear: QuantizedLinear, rows: Array) -> Array:
    """What the integer graph computes for ``rows`` (``[n, inputs]``), float32 ``[n, outputs]``."""
    x = rows + np.float32(linear.shift)
    if linear.smoothing is not None:
        x = x * linear.smoothing
    steps = 255 if linear.shift else ZERO_POINT - 1
    scale = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-20)) / np.float32(steps)
    codes = np.rint(x / scale)
    product: Array = codes @ linear.codes.astype(np.float32)
    return product * scale * linear.scales + linear.bias


def _factors(weight: Array, largest: Array, strength: float) -> Array:
    activations = np.maximum(largest, _FLOOR)
    weights = np.maximum(np.abs(weight).max(axis=1), _FLOOR)
    factors = weights ** (1 - strength) / activations**strength
    centred: Array = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return centred
