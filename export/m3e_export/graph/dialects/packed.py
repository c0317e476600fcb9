"""Attention for packed batches in standard operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from typing_extensions import override

from m3e_export.graph.dialects.base import MASKED, Dialect
from m3e_export.graph.texts import PackedTexts

__all__ = ["PackedDialect"]


class PackedDialect(Dialect):
    """Every token attends to all tokens of the batch, and a mask hides those of other texts.

    This defines packed attention and runs anywhere, but its cost grows with the square of all tokens. The
    gate runs it; dialects for a GPU replace it by one operator.
    """

    texts_type = PackedTexts
    texts: PackedTexts
    gives_states = False
    leaves_out_prompts = False
    fused_attention = "Softmax"

    def attention_mask(self) -> ir.Value:
        """0 between tokens of one text, a large negative number between others, float32 ``[tokens, tokens]``.

        With biases of scores, which are added here for all layers, ``[heads, tokens, tokens]``.
        """
        builder, membership = self.builder, self.texts.membership
        together = builder.op("MatMul", builder.op("Transpose", membership, perm=[1, 0]), membership)
        apart = builder.op("Sub", builder.constant(1.0, np.float32), together)
        mask = builder.op("Mul", apart, builder.constant(MASKED, np.float32))
        if self.score_bias is None:
            return mask
        biases = builder.op("Squeeze", self.score_bias, builder.constant([0], np.int64))
        return builder.op("Add", mask, self.to_float32(biases))

    @override
    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        builder = self.builder
        query, key, value = self.heads(qkv, bias)
        context = self.plain_attention(
            builder.op("Transpose", query, perm=[1, 0, 2]),
            builder.op("Transpose", key, perm=[1, 2, 0]),
            builder.op("Transpose", value, perm=[1, 0, 2]),
            mask,
        )
        return self.join(builder.op("Transpose", context, perm=[1, 0, 2]))

    def heads(self, qkv: ir.Value, bias: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Query, key and value of flat ``qkv + bias``, ``[tokens, heads, head_size]`` each."""
        builder, spec = self.builder, self.spec
        split = builder.constant([-1, spec.heads, spec.head_size], np.int64)
        sizes = builder.constant([spec.hidden] * 3, np.int64)
        parts = builder.ops("Split", builder.op("Add", qkv, bias), sizes, outputs=3, axis=1)
        query, key, value = (builder.op("Reshape", part, split) for part in parts)
        return query, key, value

    def join(self, context: ir.Value) -> ir.Value:
        """The flat context of ``[tokens, heads, head_size]``."""
        return self.builder.op("Reshape", context, self.builder.constant([-1, self.spec.hidden], np.int64))
