"""The one definition of the encoder graph; a dialect decides which operators spell it.

Inside, the hidden state is flat, ``[batch · length, hidden]``: only attention and pooling look at
sequences. Inputs: ``input_ids`` and ``attention_mask``, int64 ``[batch, length]``. Outputs:
``sentence_embedding`` float32 ``[batch, hidden]`` and ``last_hidden_state`` float32
``[batch, length, hidden]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from m3e_export.architectures import EncoderSpec, EncoderWeights, LayerWeights
from m3e_export.checkpoint.layout import Pooling
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.dialects.base import Dialect, SequenceShape
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["GraphOptions", "build_model"]

_MIN_COUNT = 1e-9  # sentence-transformers' clamp: a text of no tokens gives zeros, not NaN
_MIN_NORM = 1e-12  # torch.nn.functional.normalize's eps


@dataclass(frozen=True)
class GraphOptions:
    """What goes behind the last layer."""

    pooling: Pooling
    normalize: bool


def build_model(
    spec: EncoderSpec,
    weights: EncoderWeights,
    plan: PrecisionPlan,
    dialect_type: type[Dialect],
    options: GraphOptions,
) -> ir.Model:
    """Write the graph.

    Ensures:
        one attention per layer, one normalization per residual, every matrix of the plan in use
        (:meth:`Dialect.ensure` raises AssertionError otherwise).
    """
    builder = GraphBuilder()
    dialect = dialect_type(builder, spec, plan)
    input_ids = _input("input_ids")
    mask = _input("attention_mask")
    shape = SequenceShape.of(builder, input_ids)
    hidden = _embed(builder, dialect, weights, plan, input_ids, shape)
    attend = dialect.attention_mask(mask, shape)
    for layer in weights.layers:
        hidden = _layer(dialect, layer, hidden, attend, shape)
    states = builder.op("Reshape", dialect.to_float32(hidden), shape.split(builder, spec.hidden))
    sentence = _pool(builder, states, mask, options)
    _output(states, "last_hidden_state", ["batch", "length", spec.hidden])
    _output(sentence, "sentence_embedding", ["batch", spec.hidden])
    model = builder.finish(
        f"{spec.model_type}-encoder", [input_ids, mask], [sentence, states], "m3e-export", dialect.opset
    )
    dialect.ensure(model)
    return model


def _layer(
    dialect: Dialect, layer: LayerWeights, hidden: ir.Value, attend: ir.Value, shape: SequenceShape
) -> ir.Value:
    qkv, qkv_bias = dialect.linear(hidden, layer.qkv)
    context = dialect.attention(qkv, qkv_bias, attend, shape)
    attended, bias = dialect.linear(context, layer.attention_output)
    hidden = dialect.add_norm(attended, bias, hidden, layer.attention_norm)
    wide, bias = dialect.linear(hidden, layer.intermediate)
    narrow, bias = dialect.linear(dialect.bias_gelu(wide, bias), layer.output)
    return dialect.add_norm(narrow, bias, hidden, layer.output_norm)


def _embed(
    builder: GraphBuilder,
    dialect: Dialect,
    weights: EncoderWeights,
    plan: PrecisionPlan,
    input_ids: ir.Value,
    shape: SequenceShape,
) -> ir.Value:
    hidden = weights.word_embeddings.shape[1]
    words = plan.embeddings.lookup(builder, "word_embeddings", weights.word_embeddings, input_ids)
    table = builder.weight("position_embeddings", weights.position_embeddings.astype(plan.storage))
    start, axis = builder.constant([0], np.int64), builder.constant([0], np.int64)
    positions = builder.op("Slice", table, start, shape.length, axis)
    positions = (
        builder.op("Cast", positions, to=ir.DataType.FLOAT) if plan.storage != np.float32 else positions
    )
    summed = builder.op("Add", words, positions)
    flat = builder.op("Reshape", summed, builder.constant([-1, hidden], np.int64))
    return dialect.norm(dialect.to_compute(flat), weights.embedding_norm)


def _pool(builder: GraphBuilder, states: ir.Value, mask: ir.Value, options: GraphOptions) -> ir.Value:
    """Mean over the tokens of each text, or the first token. Always float32."""
    if options.pooling == "cls":
        sentence = builder.op("Gather", states, builder.constant(0, np.int64), axis=1)
    else:
        weights = builder.op("Cast", mask, to=ir.DataType.FLOAT)
        row = builder.op("Unsqueeze", weights, builder.constant([1], np.int64))
        total = builder.op("Squeeze", builder.op("MatMul", row, states), builder.constant([1], np.int64))
        count = builder.op("ReduceSum", weights, builder.constant([1], np.int64), keepdims=1)
        sentence = builder.op(
            "Div", total, builder.op("Max", count, builder.constant(_MIN_COUNT, np.float32))
        )
    if not options.normalize:
        return sentence
    length = builder.op("ReduceL2", sentence, builder.constant([1], np.int64), keepdims=1)
    return builder.op("Div", sentence, builder.op("Max", length, builder.constant(_MIN_NORM, np.float32)))


def _input(name: str) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(["batch", "length"]), type=ir.TensorType(ir.DataType.INT64))


def _output(value: ir.Value, name: str, shape: list[str | int]) -> None:
    value.name = name
    value.shape = ir.Shape(shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
