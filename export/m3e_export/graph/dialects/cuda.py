"""ONNX Runtime's fused operators on CUDA, where fewer kernels save time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from typing_extensions import override

from m3e_export.architectures import Activation, Linear, Norm
from m3e_export.graph.builder import MICROSOFT
from m3e_export.graph.dialects.base import LOGISTIC_FACTORS, Dialect
from m3e_export.graph.dialects.onnxruntime import OnnxRuntimeDialect
from m3e_export.graph.dialects.packed import PackedDialect

__all__ = ["CudaDialect", "CudaPackedDialect", "CudaPackedTwin"]


class CudaOperators(Dialect):
    """What graphs for CUDA share. ONNX Runtime also has these operators on a CPU."""

    gives_states = False
    leaves_out_prompts = False
    fused_norm = "SkipLayerNormalization"
    activations: ClassVar[Mapping[Activation, str]] = {
        "gelu": "BiasGelu",
        "gelu_tanh": "FastGelu",
        "quick_gelu": "QuickGelu",
        "relu": "Relu",
        "silu": "QuickGelu",
    }

    def add_norm(self, x: ir.Value, bias: ir.Value, residual: ir.Value, norm: Norm) -> ir.Value:
        """One kernel. It sums in float32 since ONNX Runtime 1.28, and before in its strict mode."""
        if self.spec.norm_kind == "rms":
            return super().add_norm(x, bias, residual, norm)
        return self.builder.op(
            "SkipLayerNormalization",
            x,
            residual,
            self.parameter(f"{norm.name}.gamma", norm.gamma),
            self.parameter(f"{norm.name}.beta", norm.beta),
            bias,
            domain=MICROSOFT,
            epsilon=self.spec.norm_eps,
        )

    def activate(self, x: ir.Value, bias: ir.Value) -> ir.Value:
        """One kernel, and another for the bias if the activation does not add it. ReLU is not fused."""
        if self.spec.activation == "relu":
            return super().activate(x, bias)
        if self.spec.activation in LOGISTIC_FACTORS:
            added, alpha = self.builder.op("Add", x, bias), LOGISTIC_FACTORS[self.spec.activation]
            return self.builder.op("QuickGelu", added, domain=MICROSOFT, alpha=alpha)
        return self.builder.op(self.activations[self.spec.activation], x, bias, domain=MICROSOFT)


class CudaDialect(CudaOperators, OnnxRuntimeDialect):
    """For padded batches."""

    def attention_mask(self) -> ir.Value:
        """The number of tokens of each text, int32 ``[batch]``; for fp16 also the starts of padded rows.

        A mask of all tokens would exclude all fused kernels. With the starts of queries and of keys, int32
        ``[3 · batch + 2]``, ONNX Runtime chooses the memory-efficient kernel, which all GPUs have. The starts
        are only given where that kernel applies: other kernels read them as left padding. With biases of
        scores it applies to some lengths only.
        """
        builder, texts = self.builder, self.texts
        axis = builder.constant([1], np.int64)
        counts = builder.op("Cast", builder.op("Squeeze", texts.counts, axis), to=ir.DataType.INT32)
        if self.compute != np.float16 or self.spec.head_size % 8 or self.has_score_bias:
            return counts
        # Range: other computations with shapes would run on the CPU and be copied.
        end = builder.op("Add", builder.op("Size", texts.input_ids), builder.constant(1, np.int64))
        step = builder.op("Squeeze", texts.length, builder.constant([0], np.int64))
        starts = builder.op("Range", builder.constant(0, np.int64), end, step)
        starts = builder.op("Cast", starts, to=ir.DataType.INT32)
        return builder.op("Concat", counts, starts, starts, axis=0)


class CudaPackedTwin(CudaOperators, PackedDialect):
    """The packed graph with attention in standard operators."""

    def project(self, x: ir.Value, qkv: Linear) -> tuple[ir.Value, ir.Value]:
        """Query, key and value of each head side by side, for the kernels. The bias keeps its order."""
        spec = self.spec
        by_head = qkv.weight.reshape(-1, 3, spec.heads, spec.head_size).swapaxes(1, 2)
        return self.linear(x, dataclasses.replace(qkv, weight=by_head.reshape(qkv.weight.shape)))

    @override
    def arranged(self, qkv: ir.Value) -> ir.Value:
        op, const, spec = self.builder.op, self.builder.constant, self.spec
        heads = op("Reshape", qkv, const([-1, 3, spec.heads, spec.head_size], np.int64))
        by_head = op("Transpose", heads, perm=[0, 2, 1, 3])
        return op("Reshape", by_head, const([-1, 3 * spec.hidden], np.int64))

    @override
    def heads(self, qkv: ir.Value, bias: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        op, const, spec = self.builder.op, self.builder.constant, self.spec
        parts = op("Reshape", bias, const([3, spec.heads, spec.head_size], np.int64))
        added = op("Add", self.by_head(qkv), op("Transpose", parts, perm=[1, 0, 2]))
        query, key, value = (op("Gather", added, const(part, np.int64), axis=2) for part in range(3))
        return query, key, value

    def by_head(self, qkv: ir.Value) -> ir.Value:
        """``[tokens, heads, 3, head_size]``."""
        shape = self.builder.constant([-1, self.spec.heads, 3, self.spec.head_size], np.int64)
        return self.builder.op("Reshape", qkv, shape)


class CudaPackedDialect(CudaPackedTwin):
    """For packed batches."""

    twin = CudaPackedTwin
    fused_attention = "PackedMultiHeadAttention"

    def compared_places(self) -> ir.Value:
        """The places, at most the last position: the operator pads the scores."""
        last = self.builder.constant(self.spec.max_positions - 1, np.int64)
        return self.builder.op("Min", self.texts.padded_places(), last)

    def attention_mask(self) -> ir.Value:
        """The starts of the texts and the end of the last."""
        return self.texts.cumulative_lengths

    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        """The operator adds the bias while it reorders the heads for its kernel."""
        return self.builder.op(
            "PackedMultiHeadAttention",
            self.by_head(qkv),
            None,
            None,
            bias,
            self.texts.token_offset,
            mask,
            self.score_bias,
            domain=MICROSOFT,
            num_heads=self.spec.heads,
        )
