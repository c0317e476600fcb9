"""ONNX Runtime's fused operators, where they are faster: attention and scaled integer products."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from m3e_export.graph.builder import MICROSOFT
from m3e_export.graph.dialects.base import MASKED, Dialect
from m3e_export.graph.texts import PaddedTexts
from m3e_export.precision.int8 import QuantizedLinear

__all__ = ["OnnxRuntimeDialect"]


class OnnxRuntimeDialect(Dialect):
    """For ONNX Runtime on a CPU. Fused attention assumes right padding."""

    texts: PaddedTexts
    fused_attention = "MultiHeadAttention"

    def attention_mask(self) -> ir.Value:
        """The operator takes int32 ``[batch, length]``."""
        return self.builder.op("Cast", self.texts.mask, to=ir.DataType.INT32)

    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        """Split into query, key and value; the operator adds the bias."""
        builder, hidden = self.builder, self.spec.hidden
        sizes = builder.constant([hidden] * 3, np.int64)
        sequences = self.texts.split(hidden)
        parts = builder.ops("Split", qkv, sizes, outputs=3, axis=1)
        query, key, value = (builder.op("Reshape", part, sequences) for part in parts)
        context = builder.op(
            "MultiHeadAttention",
            query,
            key,
            value,
            bias,
            mask,
            self.score_bias,
            domain=MICROSOFT,
            num_heads=self.spec.heads,
            mask_filter_value=MASKED,
        )
        return builder.op("Reshape", context, builder.constant([-1, hidden], np.int64))

    def integer_product(self, codes: ir.Value, linear: QuantizedLinear, zero_point: ir.Value) -> ir.Value:
        """One operator. Its weights are packed when the session is created."""
        return self.builder.op(
            "MatMulIntegerToFloat",
            codes,
            self.builder.weight(f"{linear.name}.codes", linear.codes),
            self.builder.constant(1.0, np.float32),
            self.builder.weight(f"{linear.name}.scales", linear.scales),
            zero_point,
            domain=MICROSOFT,
        )
