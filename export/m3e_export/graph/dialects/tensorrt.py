"""Graphs for TensorRT's parser: the standard operator Attention, and int8 as explicit quantization."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from m3e_export.architectures import Linear
from m3e_export.errors import UnsupportedModelError
from m3e_export.graph.dialects.base import Dialect
from m3e_export.graph.dialects.packed import PackedDialect
from m3e_export.graph.dialects.standard import StandardDialect
from m3e_export.precision.int8 import QuantizedLinear

__all__ = ["TensorRtDialect", "TensorRtPackedDialect", "TensorRtPackedTwin"]


class ExplicitQuantization(Dialect):
    """What graphs for TensorRT share: int8 with static scales, and sentence vectors as the only output."""

    gives_states = False
    leaves_out_prompts = False
    integer_operators = ("QuantizeLinear",)
    opset = 23  # the first with Attention

    def linear(self, x: ir.Value, linear: Linear) -> tuple[ir.Value, ir.Value]:
        """Int8 as Q/DQ around a float product, which TensorRT converts to an integer product."""
        quantized = self.plan.quantized.get(linear.name)
        if quantized is None:
            return super().linear(x, linear)
        return self.quantized_product(x, quantized), self.parameter(f"{linear.name}.bias", quantized.bias)

    def quantized_product(self, x: ir.Value, linear: QuantizedLinear) -> ir.Value:
        builder = self.builder
        if linear.input_scale is None or linear.shift is not None:
            raise AssertionError(f"{linear.name}: TensorRT needs a static scale and no shift")
        if linear.smoothing is not None:
            x = builder.op("Mul", x, self.parameter(f"{linear.name}.smoothing", linear.smoothing))
        scale = builder.constant(linear.input_scale, self.compute)
        zero = builder.constant(0, np.int8)
        codes = builder.op("QuantizeLinear", x, scale, zero)
        weights = builder.op(
            "DequantizeLinear",
            builder.weight(f"{linear.name}.codes", linear.codes),
            builder.weight(f"{linear.name}.scales", linear.scales.astype(self.compute)),
            axis=1,
        )
        return builder.op("MatMul", builder.op("DequantizeLinear", codes, scale, zero), weights)


class TensorRtDialect(ExplicitQuantization, StandardDialect):
    """For TensorRT. All operators are standard: any runtime with opset 23 gives the same vectors."""

    fused_attention = "Attention"

    def attention_mask(self) -> ir.Value:
        """The mask in the dtype of the arithmetic, ``[batch, 1 or heads, length, length]``."""
        one, texts = self.builder.constant([1], np.int64), self.texts
        sizes = self.builder.op("Concat", texts.batch, one, texts.length, texts.length, axis=0)
        return self.builder.op("Expand", self.to_compute(super().attention_mask()), sizes)

    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        """One operator, for which TensorRT has a fused kernel.

        TensorRT rejects the attribute for a float32 softmax, but computes it in float32.
        """
        builder, spec = self.builder, self.spec
        added = builder.op("Add", qkv, bias)
        sizes = builder.constant([spec.hidden] * 3, np.int64)
        split = self.texts.split(spec.heads, spec.head_size)
        heads = (
            builder.op("Transpose", builder.op("Reshape", part, split), perm=[0, 2, 1, 3])
            for part in builder.ops("Split", added, sizes, outputs=3, axis=1)
        )
        context = builder.op("Attention", *heads, mask)
        joined = builder.op("Transpose", context, perm=[0, 2, 1, 3])
        return builder.op("Reshape", joined, builder.constant([-1, spec.hidden], np.int64))


class TensorRtPackedTwin(ExplicitQuantization, PackedDialect):
    """The packed graph with attention in standard operators."""


class TensorRtPackedDialect(TensorRtPackedTwin):
    """For packed batches, if TensorRT has a kernel (:mod:`m3e_runtime.gpu.tensorrt.packed`)."""

    twin = TensorRtPackedTwin
    fused_attention = "TRT_Attention"

    def attention_mask(self) -> ir.Value:
        """The starts of the texts and the end of the last.

        Raises:
            UnsupportedModelError: the scores have biases or windows, which the operator does not support.
        """
        if self.has_score_bias:
            raise UnsupportedModelError(
                "relative positions and windows of attention are not supported in packed batches for "
                "TensorRT; use --target cuda-packed."
            )
        return self.texts.cumulative_lengths

    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        """TensorRT's operator, which does not scale the query.

        Raises:
            UnsupportedModelError: the layer is in float32, which the operator does not support.
        """
        if self.compute == np.float32 and self.plan.compute != np.float32:
            raise UnsupportedModelError(
                f"{', '.join(sorted(self.plan.wide))}: beyond half precision, which packed attention "
                "in TensorRT needs; use --precision fp32 or --target cuda."
            )
        query, key, value = self.heads(qkv, bias)
        context = self.builder.op(
            "TRT_Attention",
            self.scaled(query),
            key,
            value,
            None,
            mask,
            self.builder.op("Identity", mask),  # TensorRT's parser crashes if both are one tensor
            domain="trt",
            query_form="packed_nhd",
            kv_form="packed_nhd",
        )
        return self.join(context)
