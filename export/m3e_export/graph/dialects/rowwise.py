"""Integer products with a scale for each row of the activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from m3e_export.graph.builder import GraphBuilder
from m3e_export.precision.activations import ZERO_POINT
from m3e_export.precision.int8 import QuantizedLinear

__all__ = ["RowwiseProducts", "integer_product"]

IntegerProduct = Callable[[ir.Value, QuantizedLinear, ir.Value], ir.Value]


class RowwiseProducts:
    """Writes products that all have the same rows.

    With a scale for each row, a text's result does not depend on the other texts of the batch.
    """

    def __init__(self, builder: GraphBuilder, product: IntegerProduct) -> None:
        """``product`` multiplies codes by a matrix, given the codes' zero point; the result is float32."""
        self._builder = builder
        self._product = product
        self._zeros: dict[int, ir.Value] = {}

    def __call__(self, x: ir.Value, linear: QuantizedLinear) -> ir.Value:
        """Quantize each row of ``x`` by its range, multiply in integers and scale back, without the bias."""
        op, const = self._builder.op, self._builder.constant
        if linear.shift:  # ReLU's is zero
            x = op("Add", x, const(linear.shift, np.float32))
        if linear.smoothing is not None:
            x = op("Mul", x, self._builder.weight(f"{linear.name}.smoothing", linear.smoothing))
        if linear.shift is None:
            zero, steps, magnitude = ZERO_POINT, ZERO_POINT - 1, op("Abs", x)
        else:
            zero, steps, magnitude = 0, 255, x
        largest = self._builder.reduce("ReduceMax", magnitude, 1, keepdims=True)
        largest = op("Max", largest, const(1e-20, np.float32))
        scale = op("Mul", largest, const(1.0 / steps, np.float32))
        rows = op("Reshape", scale, const([-1], np.int64))
        codes = op("QuantizeLinear", x, rows, self._zero_points(rows, zero), axis=0)
        return op("Mul", self._product(codes, linear, const(zero, np.uint8)), scale)

    def _zero_points(self, rows: ir.Value, zero: int) -> ir.Value:
        """``zero`` for every row, uint8 in the shape of ``rows``; created once."""
        if zero not in self._zeros:
            value = ir.tensor(np.array([zero], np.uint8))
            shape = self._builder.op("Shape", rows)
            self._zeros[zero] = self._builder.op("ConstantOfShape", shape, value=value)
        return self._zeros[zero]


def integer_product(
    builder: GraphBuilder, codes: ir.Value, linear: QuantizedLinear, zero_point: ir.Value
) -> ir.Value:
    """``(codes - zero_point) @ weights`` times the weights' scales, float32, in standard operators."""
    weights = builder.weight(f"{linear.name}.codes", linear.codes)
    sums = builder.op("Cast", builder.op("MatMulInteger", codes, weights, zero_point), to=ir.DataType.FLOAT)
    return builder.op("Mul", sums, builder.weight(f"{linear.name}.scales", linear.scales))
