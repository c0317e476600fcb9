"""Formats of the word embeddings, which are half or more of a small model's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

__all__ = ["EmbeddingFormat", "FloatEmbeddings", "Int8Embeddings"]

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]


class EmbeddingFormat(Protocol):
    """A way to store the word embeddings."""

    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Tensors:
        """What stores ``table``, ``[vocabulary, hidden]``: ``name``, and ``name.scales`` for int8."""
        ...


@dataclass(frozen=True)
class FloatEmbeddings(EmbeddingFormat):
    """Rows as floats of ``storage``."""

    storage: Any = np.float32

    @override
    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Tensors:
        yield name, table.astype(self.storage)


@dataclass(frozen=True)
class Int8Embeddings(EmbeddingFormat):
    """Rows as symmetric int8 with a scale each, float32 ``[vocabulary]``."""

    @override
    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Tensors:
        codes, scales = _quantize_rows(table)
        yield name, codes
        yield f"{name}.scales", scales[:, 0]


def _quantize_rows(
    table: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Codes ``[vocabulary, hidden]`` and scales ``[vocabulary, 1]``."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.float32(1e-20)) / np.float32(127)
    return np.rint(table / scales).astype(np.int8), scales
