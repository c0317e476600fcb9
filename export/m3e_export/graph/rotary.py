"""Queries and keys before attention, as encoders after BERT have them: normalized, then rotated.

The result has the layout of the product of query, key and value, so that the attention of every dialect,
padded or packed, takes it as it takes BERT's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.architectures import LayerAttention, LayerWeights
from m3e_export.graph.dialects.base import Dialect

__all__ = ["changed_queries", "changes_queries"]

Array = npt.NDArray[np.float32]


def changes_queries(layer: LayerWeights, attention: LayerAttention) -> bool:
    """Whether something stands between the product of query, key and value and the attention."""
    return attention.rotary is not None or layer.query_norm is not None or layer.key_norm is not None


def changed_queries(
    dialect: Dialect, layer: LayerWeights, attention: LayerAttention, tables: Array | None, x: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Query, key and value of ``x`` for :meth:`Dialect.attention`, and a bias of zeros.

    ``tables`` are :attr:`EncoderWeights.rotary_tables`.
    """
    builder, hidden = dialect.builder, dialect.spec.hidden
    added = builder.op("Add", *dialect.linear(x, layer.qkv))
    both, value = builder.ops(
        "Split", added, builder.constant([2 * hidden, hidden], np.int64), outputs=2, axis=1
    )
    if layer.query_norm is not None or layer.key_norm is not None:
        both = _normalized(dialect, layer, both)
    if attention.rotary is not None and tables is not None:
        both = _rotated(dialect, both, attention.rotary, tables[attention.rotary])
    joined = builder.op("Concat", both, value, axis=1)
    zeros = builder.constant(np.zeros(3 * hidden), dialect.compute)
    return dialect.arranged(joined), zeros


def _normalized(dialect: Dialect, layer: LayerWeights, both: ir.Value) -> ir.Value:
    """Queries and keys, each normalized over all heads together."""
    sizes = dialect.builder.constant([dialect.spec.hidden] * 2, np.int64)
    parts = dialect.builder.ops("Split", both, sizes, outputs=2, axis=1)
    norms = (layer.query_norm, layer.key_norm)
    normed = (
        part if norm is None else dialect.norm(part, norm) for part, norm in zip(parts, norms, strict=True)
    )
    return dialect.builder.op("Concat", *normed, axis=1)


def _rotated(dialect: Dialect, both: ir.Value, number: int, table: Array) -> ir.Value:
    """Queries and keys, flat, turned by the angles of their positions."""
    builder, spec, half = dialect.builder, dialect.spec, table.shape[1] // 2
    op, const = builder.op, builder.constant
    cosines = dialect.of_positions(f"rotary.{number}.cosines", table[:, :half])
    sines = dialect.of_positions(f"rotary.{number}.sines", table[:, half:])
    heads = op("Reshape", both, dialect.texts.split(2 * spec.heads, spec.head_size))
    sizes = [half, half, spec.head_size - 2 * half]
    sizes = sizes if sizes[-1] else sizes[:2]
    left, right, *rest = builder.ops("Split", heads, const(sizes, np.int64), outputs=len(sizes), axis=-1)
    turned = op(
        "Concat",
        op("Sub", op("Mul", left, cosines), op("Mul", right, sines)),
        op("Add", op("Mul", right, cosines), op("Mul", left, sines)),
        *rest,
        axis=-1,
    )
    return op("Reshape", turned, const([-1, 2 * spec.hidden], np.int64))
