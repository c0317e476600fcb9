"""Formats of the word embeddings, which are half or more of a small model's size."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

__all__ = ["EmbeddingFormat", "FloatEmbeddings", "Int8Embeddings"]

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]
Quantized = tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]


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
        codes, scales = _last_table.quantized(table)
        yield name, codes
        yield f"{name}.scales", scales[:, 0]


class _LastTable:
    """The codes and scales of one table: every trial of an int8 search stores the same one."""

    def __init__(self) -> None:
        self._table: Callable[[], npt.NDArray[np.float32] | None] = lambda: None
        self._found: Quantized | None = None

    def quantized(self, table: npt.NDArray[np.float32]) -> Quantized:
        """Quantize ``table``, unless it is the last one. Its owner must not change it."""
        if self._found is None or self._table() is not table:
            self._table, self._found = weakref.ref(table, self._forget), _quantize_rows(table)
        return self._found

    def _forget(self, _: object) -> None:
        self._found = None


_last_table = _LastTable()


def _quantize_rows(table: npt.NDArray[np.float32]) -> Quantized:
    """Codes ``[vocabulary, hidden]`` and scales ``[vocabulary, 1]``."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.float32(1e-20)) / np.float32(127)
    return np.rint(table / scales).astype(np.int8), scales
