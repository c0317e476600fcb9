"""The definition of the encoder graph. A dialect decides which operators spell it.

The hidden state is flat, ``[tokens, hidden]``: only attention and pooling distinguish texts. The inputs are
those of the dialect's :mod:`m3e_export.graph.texts`. The outputs are ``sentence_embedding``, float32
``[texts, dimension]``, and, in most dialects and if the last states alone are pooled, ``last_hidden_state``,
float32 ``[batch, length, hidden]``. A SparseEncoder also has ``term_weights``, float32
``[batch, vocabulary]``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.architectures import EncoderSpec, EncoderWeights, LayerWeights, Norm
from m3e_export.checkpoint.head import HeadLayer, dimension_of
from m3e_export.checkpoint.pooling import PoolingSpec, pooling_spec
from m3e_export.checkpoint.splade import TermHead
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.dialects.base import Dialect
from m3e_export.graph.embeddings import look_up
from m3e_export.graph.head import finish, reduce_states
from m3e_export.graph.rotary import changed_queries, changes_queries
from m3e_export.graph.terms import term_weights
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["GraphOptions", "build_model"]


@dataclass(frozen=True)
class GraphOptions:
    """What follows the last layer.

    ``pooling`` is a name. ``dense`` are the layers after it, including the encoder's pooler. Without
    ``include_prompt``, the graph has the input ``prompt_length``, the number of tokens of each text that are
    not pooled. ``state_weights``, float32 ``[layers + 1]``, are the weights of the states of the embeddings
    and each layer in the pooled states; None pools the last states only. ``terms`` is the head of a
    SparseEncoder.
    """

    pooling: str
    normalize: bool
    dense: tuple[HeadLayer, ...] = ()
    include_prompt: bool = True
    state_weights: npt.NDArray[np.float32] | None = None
    terms: TermHead | None = None


def build_model(
    spec: EncoderSpec,
    weights: EncoderWeights,
    plan: PrecisionPlan,
    dialect_type: type[Dialect],
    options: GraphOptions,
) -> ir.Model:
    """Write the graph.

    :meth:`Dialect.ensure` checks that there is one attention per layer, one normalization per residual, and
    an integer product for every quantized matrix. Each matrix is stored once.

    Raises:
        UnsupportedModelError: the pooling, or a SparseEncoder, is not supported in the dialect.
    """
    pooling = pooling_spec(options.pooling)
    builder = GraphBuilder()
    dialect = dialect_type(builder, spec, plan, weights.relative_bias)
    texts = dialect.texts
    if not options.include_prompt:
        dialect.leave_out_prompts()
    words, hidden = _embed(builder, dialect, weights, plan)
    every = [(hidden, dialect.compute)]
    for layer, seen in zip(weights.layers, spec.layer_attention, strict=False):  # ensure counts the layers
        dialect.seen = seen
        hidden = dialect.enter(hidden, [linear.name for linear in layer.linears()])
        hidden = _layer(dialect, layer, hidden, dialect.mask, weights.rotary_tables)
        if weights.final_norm is not None and len(every) == spec.layers:
            hidden = dialect.norm(hidden, weights.final_norm)
        every.append((hidden, dialect.compute))
    early = {"words": (words, np.float32), "embeddings": every[0], "first layer": every[1]}
    states = texts.states(dialect.to_float32(hidden), spec.hidden)
    last = states
    if options.state_weights is not None:
        last = texts.states(_mixed(dialect, every, options.state_weights), spec.hidden)
    pooled = _pool(dialect, last, early, pooling)
    operators = builder.operators()
    sentence = finish(builder, pooled, options.dense, options.normalize)
    outputs = [sentence]
    width = dimension_of(options.pooling, spec.hidden, options.dense)
    _output(sentence, "sentence_embedding", ["batch", width])
    if dialect.gives_states and options.state_weights is None:  # else other states are pooled
        _output(states, "last_hidden_state", ["batch", "length", spec.hidden])
        outputs.append(states)
    if options.terms is not None:
        outputs.append(term_weights(dialect, states, options.terms))
        _output(outputs[-1], "term_weights", ["batch", spec.vocab_size])
    model = builder.finish(f"{spec.model_type}-encoder", texts.inputs, outputs, "m3e-export", dialect.opset)
    dialect.ensure(operators, weights)
    return model


def _layer(
    dialect: Dialect,
    layer: LayerWeights,
    hidden: ir.Value,
    mask: ir.Value,
    rotary_tables: npt.NDArray[np.float32] | None,
) -> ir.Value:
    attended = functools.partial(_attention, dialect, layer, mask, rotary_tables)
    begun, hidden = hidden, _part(dialect, hidden, layer.attention_norm, attended)
    if layer.second_norm is not None:
        hidden = dialect.norm(dialect.builder.op("Add", hidden, begun), layer.second_norm)
    return _part(dialect, hidden, layer.output_norm, functools.partial(_feed_forward, dialect, layer))


def _part(
    dialect: Dialect,
    hidden: ir.Value,
    norm: Norm | None,
    part: Callable[[ir.Value], tuple[ir.Value, ir.Value]],
) -> ir.Value:
    """One part of a layer, its residual sum, and the normalization before or after.

    ``part`` returns its result and a bias to be added.
    """
    if not dialect.spec.norm_first and norm is not None:
        return dialect.add_norm(*part(hidden), hidden, norm)
    found, bias = part(hidden if norm is None else dialect.norm(hidden, norm))
    return dialect.builder.op("Add", dialect.builder.op("Add", found, bias), hidden)


def _attention(
    dialect: Dialect,
    layer: LayerWeights,
    mask: ir.Value,
    rotary_tables: npt.NDArray[np.float32] | None,
    x: ir.Value,
) -> tuple[ir.Value, ir.Value]:
    if changes_queries(layer, dialect.seen):
        qkv, bias = changed_queries(dialect, layer, dialect.seen, rotary_tables, x)
    else:
        qkv, bias = dialect.project(x, layer.qkv)
    return dialect.linear(dialect.attention(qkv, bias, mask), layer.attention_output)


def _feed_forward(dialect: Dialect, layer: LayerWeights, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    activate = dialect.gate if dialect.spec.gated else dialect.activate
    return dialect.linear(activate(*dialect.linear(x, layer.intermediate)), layer.output)


def _embed(
    builder: GraphBuilder, dialect: Dialect, weights: EncoderWeights, plan: PrecisionPlan
) -> tuple[ir.Value, ir.Value]:
    """The word embeddings in float32, and the flat input of the first layer."""
    width, texts = weights.word_embeddings.shape[1], dialect.texts
    dialect.settle(("word_embeddings", "position_embeddings", "embedding_projection"))
    words = look_up(builder, plan.embeddings, "word_embeddings", weights.word_embeddings, texts.input_ids)
    storage = plan.storage_of("position_embeddings")
    table = builder.weight("position_embeddings", weights.position_embeddings.astype(storage))
    padding = dialect.spec.pad_token_id if dialect.spec.skips_padding else None
    positions = texts.positions(table, padding) if dialect.spec.learned_positions else table
    positions = builder.op("Cast", positions, to=ir.DataType.FLOAT) if storage != np.float32 else positions
    summed = builder.op("Add", words, positions)
    if weights.token_type_embeddings is not None:
        summed = builder.op("Add", summed, _token_types(dialect, weights.token_type_embeddings))
    flat = builder.op("Reshape", summed, builder.constant([-1, width], np.int64))
    normed = dialect.to_compute(flat)
    if weights.embedding_norm is not None:
        normed = dialect.norm(normed, weights.embedding_norm)
    if weights.embedding_projection is None:
        return words, normed
    return words, builder.op("Add", *dialect.linear(normed, weights.embedding_projection))


def _token_types(dialect: Dialect, differences: npt.NDArray[np.float32]) -> ir.Value:
    """What the token types add to the embeddings, float32; nothing for type 0."""
    table = np.concatenate([np.zeros_like(differences[:1]), differences])
    stored = dialect.builder.weight("token_type_embeddings", table)
    return dialect.builder.op("Gather", stored, dialect.texts.token_type_ids, axis=0)


def _mixed(
    dialect: Dialect, states: Sequence[tuple[ir.Value, Any]], shares: npt.NDArray[np.float32]
) -> ir.Value:
    """The weighted sum of the flat ``states``, which come with their dtypes; float32."""
    op, const = dialect.builder.op, dialect.builder.constant
    terms = [
        op("Mul", dialect.to_float32(*state), const(share, np.float32))
        for state, share in zip(states, shares, strict=True)
        if share
    ]
    return functools.reduce(lambda total, term: op("Add", total, term), terms)


def _pool(
    dialect: Dialect, states: ir.Value, early: Mapping[str, tuple[ir.Value, Any]], pooling: PoolingSpec
) -> ir.Value:
    """The pooled vectors, float32 ``[texts, width]``; ``early`` has states and their dtypes."""
    builder, texts = dialect.builder, dialect.texts
    pooled = reduce_states(texts, pooling.reductions, states)
    if pooling.early is None:
        return pooled
    before = dialect.to_float32(*early[pooling.early])
    mean = texts.mean(texts.states(before, dialect.spec.hidden))
    return builder.op("Mul", builder.op("Add", mean, pooled), builder.constant(0.5, np.float32))


def _output(value: ir.Value, name: str, shape: list[str | int]) -> None:
    value.name = name
    value.shape = ir.Shape(shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
