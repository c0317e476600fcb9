"""Giving a graph the inputs and outputs of a bundle.

The inputs are ``input_ids`` and ``attention_mask``, int64 ``[batch, length]``. The outputs are
``sentence_embedding``, float32 ``[batch, dimension]``, and ``last_hidden_state`` if the graph had it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from typing_extensions import override

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.errors import UnsupportedModelError
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.head import finish, reduce_states
from m3e_export.graph.texts import PaddedTexts

__all__ = [
    "OLDEST_OPSET",
    "SENTENCE",
    "check_interface",
    "opset_of",
    "requirements",
    "settle_inputs",
    "settle_outputs",
    "states_of",
]

OLDEST_OPSET = 13
"""The first opset in which ReduceSum and Unsqueeze take their axes as inputs."""

SENTENCE = "sentence_embedding"
_STATES = ("last_hidden_state", "token_embeddings")
_NEEDED = ("input_ids", "attention_mask")
_TYPES = "token_type_ids"


def opset_of(model: ir.Model) -> int:
    """The version of the standard ONNX operators; 0 if the graph imports none."""
    return max(model.opset_imports.get(domain, 0) for domain in ("", "ai.onnx"))


def requirements(model: ir.Model) -> dict[str, str]:
    """What the engine must provide, for the manifest."""
    return {"onnxruntime": "1.23", "opset": str(opset_of(model))}


def states_of(graph: ir.Graph) -> ir.Value | None:
    """The output with the states of all tokens, or None."""
    outputs = {str(value.name): value for value in graph.outputs}
    return next((outputs[name] for name in _STATES if name in outputs), None)


def check_interface(graph: ir.Graph, where: str) -> None:
    """Check the inputs and outputs.

    Raises:
        UnsupportedModelError: they are not supported; the message begins with ``where``.
    """
    inputs = _inputs(graph)
    if not set(_NEEDED) <= inputs.keys() <= {*_NEEDED, _TYPES}:
        raise UnsupportedModelError(
            f"{where}: its inputs are {', '.join(inputs)}; expected {', '.join(_NEEDED)} and optionally "
            f"{_TYPES}."
        )
    if any(value.dtype != ir.DataType.INT64 for value in inputs.values()):
        raise UnsupportedModelError(f"{where}: its inputs are not int64.")
    outputs = [str(value.name) for value in graph.outputs]
    if SENTENCE not in outputs and states_of(graph) is None:
        raise UnsupportedModelError(
            f"{where}: its outputs are {', '.join(outputs)}; expected {SENTENCE} or {' or '.join(_STATES)}."
        )


def settle_inputs(model: ir.Model) -> None:
    """Reduce the inputs of ``model`` to ids and mask. Token types become zeros.

    :func:`check_interface` must have passed.
    """
    graph = model.graph
    inputs = _inputs(graph)
    for name in _NEEDED:
        inputs[name].shape = ir.Shape(["batch", "length"])
    _forget_sizes(graph)
    if _TYPES in inputs:
        builder = GraphBuilder(opset_of(model))
        shape = builder.op("Shape", inputs[_NEEDED[0]])
        zeros = builder.op("ConstantOfShape", shape, value=ir.tensor(np.zeros(1, np.int64)))
        graph.inputs.remove(inputs[_TYPES])
        inputs[_TYPES].replace_all_uses_with(zeros)
        builder.append_to(graph)


def settle_outputs(model: ir.Model, checkpoint: BaseCheckpoint) -> None:
    """Make ``model`` output sentence vectors. Added operators compute in float32."""
    graph, builder = model.graph, GraphBuilder(opset_of(model))
    sentence = next((value for value in graph.outputs if value.name == SENTENCE), None)
    states = states_of(graph)
    _free_names(graph)
    if states is not None:
        states = _float32(builder, states)
    if sentence is None:
        assert states is not None  # noqa: S101 - check_interface guarantees it
        texts = _GivenTexts(builder, _inputs(graph))
        pooled = reduce_states(texts, pooling_spec(checkpoint.sentence_config.pooling).reductions, states)
        sentence = finish(builder, pooled, checkpoint.dense, checkpoint.sentence_config.normalize)
    else:
        sentence = _float32(builder, sentence)
    graph.outputs.clear()
    graph.outputs.append(_output(sentence, SENTENCE, ["batch", checkpoint.dimension]))
    if states is not None:
        graph.outputs.append(_output(states, _STATES[0], ["batch", "length", checkpoint.hidden]))
    builder.append_to(graph)
    RemoveUnusedNodesPass()(model)


def _free_names(graph: ir.Graph) -> None:
    """Rename the outputs, to free their names for the new outputs."""
    taken = {value.name for node in graph for value in node.outputs}
    for value in graph.outputs:
        while value.name in taken:
            value.name = f"given_{value.name}"


def _inputs(graph: ir.Graph) -> dict[str, ir.Value]:
    return {str(value.name): value for value in graph.inputs}


class _GivenTexts(PaddedTexts):
    """The existing inputs of a graph."""

    def __init__(self, builder: GraphBuilder, given: Mapping[str, ir.Value]) -> None:
        self._given = given
        super().__init__(builder)

    @override
    def input(self, name: str, dtype: ir.DataType) -> ir.Value:
        del dtype
        return self._given[name]


def _float32(builder: GraphBuilder, value: ir.Value) -> ir.Value:
    """A new value in float32: other nodes may use the output itself."""
    return builder.op("Cast", value, to=ir.DataType.FLOAT)


def _output(value: ir.Value, name: str, shape: list[str | int]) -> ir.Value:
    value.name, value.shape = name, ir.Shape(shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
    return value


def _forget_sizes(graph: ir.Graph) -> None:
    """Remove the exporter's names of variable sizes, which no longer match those of the inputs."""
    outputs = set(graph.outputs)
    for node in graph:
        for value in node.outputs:
            if value not in outputs and value.shape is not None and not value.shape.is_static():
                value.shape = None
