"""Standard ONNX operators only, for any runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from typing_extensions import override

from m3e_export.graph.dialects.base import MASKED, Dialect
from m3e_export.graph.texts import PaddedTexts

__all__ = ["StandardDialect"]


class StandardDialect(Dialect):
    """Attention as two products around a float32 softmax."""

    texts: PaddedTexts
    fused_attention = "Softmax"

    def attention_mask(self) -> ir.Value:
        """0 for tokens, a large negative number for padding, float32 ``[batch, 1, 1, length]``.

        With biases of scores, which are added here for all layers, ``[batch, heads, length, length]``.
        """
        builder = self.builder
        kept = builder.op("Cast", self.texts.mask, to=ir.DataType.FLOAT)
        hidden = builder.op("Sub", builder.constant(1.0, np.float32), kept)
        scores = builder.op("Mul", hidden, builder.constant(MASKED, np.float32))
        mask = builder.op("Unsqueeze", scores, builder.constant([1, 2], np.int64))
        if self.score_bias is None:
            return mask
        return builder.op("Add", mask, self.to_float32(self.score_bias))

    @override
    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        builder, spec = self.builder, self.spec
        added = builder.op("Add", qkv, bias)
        split = builder.op("Reshape", added, self.texts.split(3, spec.heads, spec.head_size))
        heads = builder.op("Transpose", split, perm=[2, 0, 3, 1, 4])
        query, key, value = (
            builder.op("Gather", heads, builder.constant(part, np.int64), axis=0) for part in range(3)
        )
        key = builder.op("Transpose", key, perm=[0, 1, 3, 2])
        context = self.plain_attention(query, key, value, mask)
        joined = builder.op("Transpose", context, perm=[0, 2, 1, 3])
        return builder.op("Reshape", joined, builder.constant([-1, spec.hidden], np.int64))
