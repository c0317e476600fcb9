"""How engines quantize activations to 8-bit codes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from m3e_export.architectures import Activation

__all__ = ["SHIFTS", "ZERO_POINT", "ActivationCodes", "RangeCodes", "StaticCodes", "SymmetricCodes"]

ZERO_POINT = 128
"""The code of zero for symmetric activations, whose codes run from 1 to 255."""

SHIFTS: dict[Activation, float] = {
    "gelu": 0.17,
    "gelu_tanh": 0.1701,
    "quick_gelu": 0.1637,
    "relu": 0.0,
    "silu": 0.2785,
}
"""Added to the output of an activation before quantization, so that no value is negative.
The minima are −0.16997, −0.17004, −0.16362, 0 and −0.27847."""

_SMALLEST = np.float32(1e-20)

Array = npt.NDArray[np.float32]


class ActivationCodes(Protocol):
    """How an engine quantizes activations and multiplies the codes.

    ``together`` is the number of products that the engine adds in 16 bits without VNNI; 1 if it adds in 32.
    ``static``: all rows share one scale from calibration, instead of a scale each.
    """

    together: int
    static: bool

    def shift(self, kind: str, activation: Activation) -> float | None:
        """The constant added to the inputs of matrices of ``kind`` before quantization.

        None if the inputs may have both signs. ``activation`` is the encoder's.
        """
        ...

    def rounded(self, x: Array, shift: float | None) -> Array:
        """``x``, ``[n, inputs]`` with ``shift`` added, rounded to the values that the codes represent."""
        ...


class SymmetricCodes(ActivationCodes):
    """Codes from or around zero with one scale per row: ONNX's QuantizeLinear."""

    together = 2
    static = False

    @override
    def shift(self, kind: str, activation: Activation) -> float | None:
        return SHIFTS[activation] if kind == "output" else None

    @override
    def rounded(self, x: Array, shift: float | None) -> Array:
        steps = np.float32(ZERO_POINT - 1 if shift is None else 255)
        scale = np.maximum(np.abs(x).max(axis=1, keepdims=True), _SMALLEST) / steps
        rounded: Array = np.rint(x / scale) * scale
        return rounded


class RangeCodes(ActivationCodes):
    """Codes 0 to 255 from the smallest to the largest value of a row: the native engine."""

    together = 4
    static = False

    @override
    def shift(self, kind: str, activation: Activation) -> float | None:
        del kind, activation
        return None

    @override
    def rounded(self, x: Array, shift: float | None) -> Array:
        del shift
        low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
        scale = np.maximum(high - low, _SMALLEST) / np.float32(255)
        rounded: Array = low + np.rint((x - low) / scale) * scale
        return rounded


class StaticCodes(ActivationCodes):
    """Codes -127 to 127 with one calibrated scale per matrix: TensorRT's explicit quantization."""

    together = 1
    static = True

    @override
    def shift(self, kind: str, activation: Activation) -> float | None:
        del kind, activation
        return None

    @override
    def rounded(self, x: Array, shift: float | None) -> Array:
        del shift
        scale = np.maximum(np.abs(x).max(), _SMALLEST) / np.float32(127)
        rounded: Array = np.rint(x / scale) * scale
        return rounded
