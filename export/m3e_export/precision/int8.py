"""Int8 matrices that are exact on every processor.

x86 without VNNI multiplies unsigned activations with signed weights in pairs and adds each pair in 16
bits with saturation (``vpmaddubsw``): 255 · 127 · 2 does not fit, sums are clipped silently and the
ranking suffers. The usual cure gives up one bit of every weight. Here the scale of each output channel
is chosen so that no two weights that meet in a pair can exceed the 16 bits: activations are not
negative, so a sum is largest when both are, and ``255 · |w₂ₖ + w₂ₖ₊₁| ≤ 32767`` is enough (weights of
opposite sign cannot exceed it). Large weights of one sign seldom stand side by side, so this costs a
third of a bit (MiniLM) instead of a whole one, and the same file gives the same integers with and
without VNNI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear

__all__ = ["PAIR_LIMIT", "QuantizedLinear", "quantize_linear"]

PAIR_LIMIT = 32767 // 255
"""Largest |a + b| of two weight codes that share a 16-bit sum with codes up to 255: 128."""

Array = npt.NDArray[np.float32]
_Number = TypeVar("_Number", bound=np.number)


@dataclass(frozen=True)
class QuantizedLinear:
    """A matrix in int8.

    ``weight ≈ codes · scales`` with codes int8 ``[inputs, outputs]`` and scales float32 ``[outputs]``,
    for inputs that had ``shift`` added and were then multiplied by ``smoothing`` (float32 ``[inputs]``,
    None for ones); ``bias`` is corrected for the shift.
    """

    name: str
    codes: npt.NDArray[np.int8]
    scales: Array
    bias: Array
    smoothing: Array | None = None
    shift: float = 0.0


def quantize_linear(linear: Linear, smoothing: Array | None = None, shift: float = 0.0) -> QuantizedLinear:
    """Quantize the weights of ``linear`` per output channel, without any pair that can saturate.

    Args:
        linear: the float matrix.
        smoothing: factors on the inputs, ``[inputs]``; the weights are divided by them.
        shift: constant added to the inputs before smoothing.
    """
    weight = linear.weight if smoothing is None else linear.weight / smoothing[:, None]
    scales = _pair_safe_scales(weight)
    codes = _round_pair_safe(weight, scales)
    bias = linear.bias
    if shift:
        factors = np.ones(len(codes), np.float32) if smoothing is None else smoothing
        bias = (bias - np.float32(shift) * (factors @ codes.astype(np.float32)) * scales).astype(np.float32)
    return QuantizedLinear(linear.name, codes, scales, bias, smoothing, shift)


def _pair_safe_scales(weight: Array) -> Array:
    even, odd = _pairs(weight)
    largest, largest_pair = np.abs(weight).max(axis=0), np.abs(even + odd).max(axis=0)
    scales = np.maximum(largest / 127, largest_pair / PAIR_LIMIT)
    # A column of zeros has any scale; the smallest normal keeps it finite.
    safe: Array = np.maximum(scales, np.float32(1e-30)).astype(np.float32)
    return safe


def _round_pair_safe(weight: Array, scales: Array) -> npt.NDArray[np.int8]:
    """Round to nearest; where rounding both of a pair up exceeds the limit, take one back."""
    codes: npt.NDArray[np.int16] = np.clip(np.rint(weight / scales), -127, 127).astype(np.int16)
    even, odd = _pairs(codes)
    excess = np.abs(even + odd) - PAIR_LIMIT
    larger = np.where(np.abs(even) >= np.abs(odd), 0, 1)
    for side, half in ((0, even), (1, odd)):
        over = (excess > 0) & (larger == side)
        half[over] -= np.sign(half[over]) * excess[over]
    codes[0::2], codes[1::2] = even, odd[: len(codes) // 2]
    return codes.astype(np.int8)


def _pairs(weight: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], npt.NDArray[_Number]]:
    """Rows 0, 2, 4 … and rows 1, 3, 5 …, with a row of zeros where the last has no partner."""
    padded = np.concatenate([weight, np.zeros_like(weight[: len(weight) % 2])])
    return padded[0::2], padded[1::2]
