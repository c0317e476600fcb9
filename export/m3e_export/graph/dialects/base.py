"""What every dialect shares: matrix products in each precision, and the contract of the finished graph."""

from __future__ import annotations

import abc
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from m3e_export.architectures import EncoderSpec, Linear, Norm
from m3e_export.graph.builder import OPSET, GraphBuilder
from m3e_export.precision.activations import ZERO_POINT
from m3e_export.precision.int8 import QuantizedLinear
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["MASKED", "Dialect", "SequenceShape"]

MASKED = -10000.0
"""Added to the scores of padding. Finite in fp16, and exp() of it is exactly zero beside any real score."""


@dataclass(frozen=True)
class SequenceShape:
    """Batch and length of the input at run time, int64 ``[1]`` each."""

    batch: ir.Value
    length: ir.Value

    @staticmethod
    def of(builder: GraphBuilder, input_ids: ir.Value) -> SequenceShape:
        """Read them off ``input_ids``."""
        return SequenceShape(
            builder.op("Shape", input_ids, start=0, end=1), builder.op("Shape", input_ids, start=1, end=2)
        )

    def split(self, builder: GraphBuilder, *last: int) -> ir.Value:
        """The shape ``[batch, length, *last]``."""
        return builder.op("Concat", self.batch, self.length, builder.constant(list(last), np.int64), axis=0)


class Dialect(abc.ABC):
    """Operators of one encoder graph. Flat tensors are ``[batch · length, …]``."""

    fused_attention: str
    """Operator that stands once for each layer's attention."""

    integer_operators: tuple[str, ...] = ("MatMulIntegerToFloat", "MatMulInteger")
    """Operators of which one stands for each quantized matrix."""

    opset: int = OPSET

    def __init__(self, builder: GraphBuilder, spec: EncoderSpec, plan: PrecisionPlan) -> None:
        self.builder = builder
        self.spec = spec
        self.plan = plan
        self._zeros: dict[int, ir.Value] = {}

    @abc.abstractmethod
    def attention_mask(self, mask: ir.Value, shape: SequenceShape) -> ir.Value:
        """Prepare ``attention_mask`` for :meth:`attention`."""

    @abc.abstractmethod
    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value, shape: SequenceShape) -> ir.Value:
        """Self-attention of flat ``qkv + bias``; returns the flat context ``[…, hidden]``."""

    @abc.abstractmethod
    def integer_product(self, codes: ir.Value, linear: QuantizedLinear, zero_point: ir.Value) -> ir.Value:
        """``(codes - zero_point) @ weights`` times the weights' scales, float32."""

    def add_norm(self, x: ir.Value, bias: ir.Value, residual: ir.Value, norm: Norm) -> ir.Value:
        """Normalize ``x + bias + residual``.

        Three operators: ONNX Runtime's fused SkipLayerNormalization takes three times as long on a CPU
        (measured with 1.32: 1.9 ms against 0.6 ms for 1024 rows of 768, two threads).
        """
        return self.norm(self.builder.op("Add", self.builder.op("Add", x, bias), residual), norm)

    def bias_gelu(self, x: ir.Value, bias: ir.Value) -> ir.Value:
        """Exact GELU of ``x + bias``, an operator since opset 20; not slower than the fused BiasGelu."""
        return self.builder.op("Gelu", self.builder.op("Add", x, bias), approximate="none")

    def norm(self, x: ir.Value, norm: Norm) -> ir.Value:
        """Layer normalization with statistics in float32 (``stash_type``)."""
        return self.builder.op(
            "LayerNormalization",
            x,
            self.parameter(f"{norm.name}.gamma", norm.gamma),
            self.parameter(f"{norm.name}.beta", norm.beta),
            axis=-1,
            epsilon=self.spec.norm_eps,
            stash_type=1,
        )

    def linear(self, x: ir.Value, linear: Linear) -> tuple[ir.Value, ir.Value]:
        """``x @ weight`` and the bias that is still to be added: fused operators take it for free."""
        quantized = self.plan.quantized.get(linear.name)
        if quantized is None:
            weight = self.parameter(f"{linear.name}.weight", linear.weight)
            return self.builder.op("MatMul", x, weight), self.parameter(f"{linear.name}.bias", linear.bias)
        bias = self.parameter(f"{linear.name}.bias", quantized.bias)
        return self._quantized_product(x, quantized), bias

    def parameter(self, name: str, array: np.ndarray) -> ir.Value:
        """A float weight, stored as the plan says and computed with as the plan says."""
        storage = self.plan.storage if array.ndim == 2 or self.plan.compute == np.float16 else np.float32
        stored = self.builder.weight(name, array.astype(storage))
        if storage == self.plan.compute:
            return stored
        return self.builder.op("Cast", stored, to=ir.DataType.from_numpy(np.dtype(self.plan.compute)))

    def to_compute(self, x: ir.Value) -> ir.Value:
        """From float32 to the plan's arithmetic."""
        return self.builder.op("Cast", x, to=ir.DataType.FLOAT16) if self.plan.compute == np.float16 else x

    def to_float32(self, x: ir.Value) -> ir.Value:
        """From the plan's arithmetic to float32."""
        return self.builder.op("Cast", x, to=ir.DataType.FLOAT) if self.plan.compute == np.float16 else x

    def ensure(self, model: ir.Model) -> None:
        """Assert that the graph is what it should be: no layer lost its fused operators."""
        counts = Counter(node.op_type for node in model.graph)
        layers = self.spec.layers
        _expect(counts[self.fused_attention] == layers, f"{self.fused_attention} in every layer", counts)
        _expect(
            counts["LayerNormalization"] == 2 * layers + 1, "two LayerNormalization in every layer", counts
        )
        _expect(counts["Gelu"] == layers, "one Gelu in every layer", counts)
        integer = sum(counts[operator] for operator in self.integer_operators)
        _expect(integer == len(self.plan.quantized), "an integer product for every quantized matrix", counts)

    def _quantized_product(self, x: ir.Value, linear: QuantizedLinear) -> ir.Value:
        """Quantize each row of ``x`` by its own range, multiply in integers, scale back.

        A scale for each row keeps a text's result independent of the texts beside it.
        """
        op, const = self.builder.op, self.builder.constant
        if linear.shift:
            x = op("Add", x, const(linear.shift, np.float32))
        if linear.smoothing is not None:
            x = op("Mul", x, self.builder.weight(f"{linear.name}.smoothing", linear.smoothing))
        if linear.shift:
            zero, steps, magnitude = 0, 255, x
        else:
            zero, steps, magnitude = ZERO_POINT, ZERO_POINT - 1, op("Abs", x)
        largest = op("ReduceMax", magnitude, const([1], np.int64), keepdims=1)
        largest = op("Max", largest, const(1e-20, np.float32))
        scale = op("Mul", largest, const(1.0 / steps, np.float32))
        rows = op("Reshape", scale, const([-1], np.int64))
        codes = op("QuantizeLinear", x, rows, self._zero_points(rows, zero), axis=0)
        return op("Mul", self.integer_product(codes, linear, const(zero, np.uint8)), scale)

    def _zero_points(self, rows: ir.Value, zero: int) -> ir.Value:
        """``zero`` for every row, uint8 like ``rows``; all matrices have the same rows, so it is shared."""
        if zero not in self._zeros:
            value = ir.tensor(np.array([zero], np.uint8))
            self._zeros[zero] = self.builder.op(
                "ConstantOfShape", self.builder.op("Shape", rows), value=value
            )
        return self._zeros[zero]


def _expect(condition: bool, what: str, counts: Counter[str]) -> None:
    if not condition:
        raise AssertionError(f"the graph was written wrongly: expected {what}; it has {dict(counts)}")
