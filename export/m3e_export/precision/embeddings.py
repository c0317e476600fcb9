"""Storing the word embeddings: half or more of a small model's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

if TYPE_CHECKING:
    from m3e_export.graph.builder import GraphBuilder

__all__ = ["FloatEmbeddings", "Int8Embeddings"]

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]


@dataclass(frozen=True)
class FloatEmbeddings:
    """Rows as floats of ``storage``; looked up first, widened after, so only the rows in use are."""

    storage: Any = np.float32

    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Tensors:
        """See :class:`m3e_export.precision.plan.EmbeddingFormat`."""
        yield name, table.astype(self.storage)

    def lookup(
        self, builder: GraphBuilder, name: str, table: npt.NDArray[np.float32], ids: ir.Value
    ) -> ir.Value:
        """See :class:`m3e_export.precision.plan.EmbeddingFormat`."""
        rows = builder.op("Gather", builder.weight(name, table.astype(self.storage)), ids, axis=0)
        return rows if self.storage == np.float32 else builder.op("Cast", rows, to=ir.DataType.FLOAT)


@dataclass(frozen=True)
class Int8Embeddings:
    """Rows as int8 with a scale each, symmetric."""

    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Tensors:
        """See :class:`m3e_export.precision.plan.EmbeddingFormat`."""
        codes, scales = _quantize_rows(table)
        yield name, codes
        yield f"{name}.scales", scales[:, 0]

    def lookup(
        self, builder: GraphBuilder, name: str, table: npt.NDArray[np.float32], ids: ir.Value
    ) -> ir.Value:
        """See :class:`m3e_export.precision.plan.EmbeddingFormat`."""
        codes, scales = _quantize_rows(table)
        rows = builder.op("Gather", builder.weight(f"{name}.codes", codes), ids, axis=0)
        row_scales = builder.op("Gather", builder.weight(f"{name}.scales", scales), ids, axis=0)
        return builder.op("Mul", builder.op("Cast", rows, to=ir.DataType.FLOAT), row_scales)


def _quantize_rows(
    table: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Codes ``[vocabulary, hidden]`` and scales ``[vocabulary, 1]``."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.float32(1e-20)) / np.float32(127)
    return np.rint(table / scales).astype(np.int8), scales
