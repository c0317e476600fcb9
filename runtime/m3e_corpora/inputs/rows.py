"""Rows on their way from a file to their vectors, and the rows that cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["CHUNK_BYTES", "CHUNK_ROWS", "ROW_LIMIT", "BadRow", "Rows"]

CHUNK_ROWS = 1024
CHUNK_BYTES = 1 << 20
"""What is read at a time; enough for the tokenizer to keep all cores busy."""

ROW_LIMIT = 8 << 20
"""Longest row in bytes. A file without line ends must not be read into memory as one row."""


class BadRow(msgspec.Struct, frozen=True):
    """A row that has no vector: the file, its place there (``line 3``, ``row 17``; both from 1), and why."""

    file: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.problem}"


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a file.

    ``prompts`` are those of each text, None where all have the same. ``beside`` is what an output stores
    beside each vector: a list of mappings for JSON Lines, a RecordBatch for Parquet, None where there is
    nothing. ``locate`` puts one of ``numbers`` into words.
    """

    texts: Sequence[str]
    prompts: Sequence[str] | None
    beside: Any
    numbers: Sequence[int]
    locate: Callable[[int, str], BadRow]
    bad: Sequence[BadRow]
    size: int
    """Bytes of the input that these rows and the bad ones took, for progress."""

    def without(self, indices: Sequence[int], problem: str) -> Rows:
        """The same without some rows, which are bad."""
        dropped = set(indices)
        kept = [index for index in range(len(self.texts)) if index not in dropped]
        return Rows(
            [self.texts[index] for index in kept],
            self.prompts and [self.prompts[index] for index in kept],
            _taken(self.beside, kept),
            [self.numbers[index] for index in kept],
            self.locate,
            [*self.bad, *(self.locate(self.numbers[index], problem) for index in indices)],
            self.size,
        )


def _taken(beside: Any, kept: list[int]) -> Any:
    if beside is None or isinstance(beside, list):
        return beside and [beside[index] for index in kept]
    return beside.take(kept)  # an Arrow batch
