"""Operators of the ONNX standard only, for any runtime and for TensorRT's parser."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from m3e_export.graph.dialects.base import MASKED, Dialect, SequenceShape
from m3e_export.precision.int8 import QuantizedLinear

__all__ = ["StandardDialect"]


class StandardDialect(Dialect):
    """Attention as two products around a float32 softmax."""

    fused_attention = "Softmax"

    def attention_mask(self, mask: ir.Value, shape: SequenceShape) -> ir.Value:
        """0 for tokens and a large negative for padding, float32 ``[batch, 1, 1, length]``."""
        del shape
        builder = self.builder
        kept = builder.op("Cast", mask, to=ir.DataType.FLOAT)
        hidden = builder.op("Sub", builder.constant(1.0, np.float32), kept)
        scores = builder.op("Mul", hidden, builder.constant(MASKED, np.float32))
        return builder.op("Unsqueeze", scores, builder.constant([1, 2], np.int64))

    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value, shape: SequenceShape) -> ir.Value:
        """Scaled dot products; scores and softmax in float32, so that fp16 cannot overflow."""
        builder, spec = self.builder, self.spec
        added = builder.op("Add", qkv, bias)
        split = builder.op("Reshape", added, shape.split(builder, 3, spec.heads, spec.head_size))
        heads = builder.op("Transpose", split, perm=[2, 0, 3, 1, 4])
        query, key, value = (
            builder.op("Gather", heads, builder.constant(part, np.int64), axis=0) for part in range(3)
        )
        # Scaling the query before the product keeps fp16 scores small.
        scale = builder.constant(1 / math.sqrt(spec.head_size), self.plan.compute)
        query = builder.op("Mul", query, scale)
        scores = builder.op("MatMul", query, builder.op("Transpose", key, perm=[0, 1, 3, 2]))
        masked = builder.op("Add", self.to_float32(scores), mask)
        shares = self.to_compute(builder.op("Softmax", masked, axis=-1))
        context = builder.op("Transpose", builder.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return builder.op("Reshape", context, builder.constant([-1, spec.hidden], np.int64))

    def integer_product(self, codes: ir.Value, linear: QuantizedLinear, zero_point: ir.Value) -> ir.Value:
        """Integer product, then the weights' scales."""
        builder = self.builder
        weights = builder.weight(f"{linear.name}.codes", linear.codes)
        sums = builder.op(
            "Cast", builder.op("MatMulInteger", codes, weights, zero_point), to=ir.DataType.FLOAT
        )
        return builder.op("Mul", sums, builder.weight(f"{linear.name}.scales", linear.scales))
