"""Storing the weights of a finished graph in fp16 and int8.

The functions change the graph in place. Arithmetic stays in float32, except for integer products.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from m3e_export.generic.interface import opset_of
from m3e_export.generic.matrices import Matrix, find_matrices
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.dialects.rowwise import RowwiseProducts, integer_product
from m3e_export.graph.embeddings import look_up
from m3e_export.precision.embeddings import Int8Embeddings
from m3e_export.precision.half import LARGEST_HALF
from m3e_export.precision.int8 import QuantizedLinear

__all__ = ["quantize_embeddings", "quantize_products", "store_half"]


def store_half(model: ir.Model) -> None:
    """Store weights of two or more dimensions in half precision, and widen them where they are used.

    Only the used rows of a table are widened. Weights beyond the range of half precision stay float32, and so
    do vectors, whatever their number of dimensions.
    """
    graph, builder = model.graph, GraphBuilder(opset_of(model))
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT:
            continue
        array = tensor.numpy()
        if array.size == max(array.shape, default=1):
            continue
        if np.abs(array).max(initial=0.0) <= LARGEST_HALF:
            _widen_after(builder, value, builder.weight(f"{value.name}.half", array.astype(np.float16)))
    _finish(model, builder)


def _widen_after(builder: GraphBuilder, value: ir.Value, half: ir.Value) -> None:
    """Replace ``value`` by ``half`` for all its users."""
    lookups = [use.node for use in value.uses() if _is_lookup(use.node) and use.idx == 0]
    for node in lookups:
        rows = builder.op("Gather", half, node.inputs[1], axis=0)
        _replace(node, builder.op("Cast", rows, to=ir.DataType.FLOAT))
    if len(value.uses()) > len(lookups):
        value.replace_all_uses_with(builder.op("Cast", half, to=ir.DataType.FLOAT))


def quantize_embeddings(model: ir.Model) -> None:
    """Store the tables that ``input_ids`` index in int8, with a scale per row."""
    graph, builder = model.graph, GraphBuilder(opset_of(model))
    ids = next(value for value in graph.inputs if value.name == "input_ids")
    for node in [use.node for use in ids.uses() if _is_lookup(use.node) and use.idx == 1]:
        table = node.inputs[0]
        if table is None or table.const_value is None or table.const_value.dtype != ir.DataType.FLOAT:
            continue
        rows = look_up(builder, Int8Embeddings(), str(table.name), table.const_value.numpy(), ids)
        _replace(node, rows)
    _finish(model, builder)


def quantize_products(model: ir.Model, quantized: Mapping[str, QuantizedLinear]) -> None:
    """Replace products by integer products. The names are those of :func:`find_matrices`."""
    builder = GraphBuilder(opset_of(model))
    for matrix in find_matrices(model.graph):
        if matrix.linear.name in quantized:
            _quantize(builder, matrix, quantized[matrix.linear.name])
    _finish(model, builder)


def _quantize(builder: GraphBuilder, matrix: Matrix, linear: QuantizedLinear) -> None:
    op, const = builder.op, builder.constant
    inputs, outputs = linear.codes.shape
    for node in matrix.nodes:
        x = node.inputs[0]
        # Nodes have different rows, so they share nothing.
        products = RowwiseProducts(builder, functools.partial(integer_product, builder))
        flat = products(op("Reshape", x, const([-1, inputs], np.int64)), linear)
        flat = op("Add", flat, builder.weight(f"{linear.name}.bias", linear.bias))
        shape = op("Concat", op("Shape", x, end=-1), const([outputs], np.int64), axis=0)
        result = op("Reshape", flat, shape)
        if node.op_type == "Gemm" and len(node.inputs) > 2 and node.inputs[2] is not None:
            result = op("Add", result, node.inputs[2])
        _replace(node, result)


def _replace(node: ir.Node, result: ir.Value) -> None:
    """Replace the output of ``node`` by ``result``, also as an output of the graph."""
    old = node.outputs[0]
    if old.is_graph_output():
        result.name, result.shape, result.type = old.name, old.shape, old.type
        old.name = f"{old.name}_before"
    old.replace_all_uses_with(result, replace_graph_outputs=True)


def _is_lookup(node: ir.Node) -> bool:
    """Whether ``node`` gathers rows of its first input."""
    axis = node.attributes.get("axis")
    return node.op_type == "Gather" and not node.domain and (axis is None or axis.value == 0)


def _finish(model: ir.Model, builder: GraphBuilder) -> None:
    builder.append_to(model.graph)
    RemoveUnusedNodesPass()(model)
