"""How an engine turns a row of activations into 8-bit codes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["GELU_SHIFT", "ZERO_POINT", "ActivationCodes", "RangeCodes", "StaticCodes", "SymmetricCodes"]

ZERO_POINT = 128
"""Code of zero for symmetric activations of both signs; the codes run from 1 to 255."""

GELU_SHIFT = 0.17
"""Added to GELU's output before quantization: its minimum is −0.16997, so all 255 codes are used."""

_SMALLEST = np.float32(1e-20)

Array = npt.NDArray[np.float32]


class ActivationCodes(Protocol):
    """A way to quantize activations, and to multiply the codes.

    ``together``: how many products the engine adds in 16 bits where it has no VNNI; 1 where it never does.
    ``static``: one scale for all rows, known before, in place of one for each row.
    """

    together: int
    static: bool

    def shift(self, kind: str) -> float:
        """Constant that is added to the inputs of matrices of ``kind`` before they are quantized."""
        ...

    def rounded(self, x: Array, shift: float) -> Array:
        """``x`` (``[n, inputs]``, ``shift`` already added) as the codes represent it."""
        ...


class SymmetricCodes:
    """Codes around a fixed zero point, one scale per row: what ONNX's QuantizeLinear can say."""

    together = 2
    static = False

    def shift(self, kind: str) -> float:
        """See :class:`ActivationCodes`."""
        return GELU_SHIFT if kind == "output" else 0.0

    def rounded(self, x: Array, shift: float) -> Array:
        """See :class:`ActivationCodes`."""
        steps = np.float32(255 if shift else ZERO_POINT - 1)
        scale = np.maximum(np.abs(x).max(axis=1, keepdims=True), _SMALLEST) / steps
        rounded: Array = np.rint(x / scale) * scale
        return rounded


class RangeCodes:
    """Codes 0 to 255 from the smallest to the largest value of the row: the native engine."""

    together = 4
    static = False

    def shift(self, kind: str) -> float:
        """See :class:`ActivationCodes`."""
        del kind
        return 0.0

    def rounded(self, x: Array, shift: float) -> Array:
        """See :class:`ActivationCodes`."""
        del shift
        low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
        scale = np.maximum(high - low, _SMALLEST) / np.float32(255)
        rounded: Array = low + np.rint((x - low) / scale) * scale
        return rounded


class StaticCodes:
    """Codes -127 to 127 with one scale for a matrix, from calibration: TensorRT's explicit quantization."""

    together = 1
    static = True

    def shift(self, kind: str) -> float:
        """See :class:`ActivationCodes`."""
        del kind
        return 0.0

    def rounded(self, x: Array, shift: float) -> Array:
        """See :class:`ActivationCodes`."""
        del shift
        scale = np.maximum(np.abs(x).max(), _SMALLEST) / np.float32(127)
        rounded: Array = np.rint(x / scale) * scale
        return rounded
