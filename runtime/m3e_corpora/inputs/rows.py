"""Rows on their way from a file to their vectors, and the rows that cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

__all__ = ["CHUNK_BYTES", "CHUNK_ROWS", "ROW_LIMIT", "BadRow", "Beside", "ParsedRow", "Rows"]

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


@dataclass(slots=True)
class ParsedRow:
    """A row of a text file: what the format found, or the ``problem`` that makes it a bad row.

    ``number`` is that of its last line in the slice, ``end`` the byte of the file after it.
    """

    number: int
    end: int
    text: str = ""
    prompt: str = ""
    values: Mapping[str, Any] | None = None
    problem: str | None = None


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


class Beside(Protocol):
    """Makes what is stored beside the vectors."""

    def of_rows(self, rows: Sequence[ParsedRow]) -> Any:
        """From rows of a text file; a value that cannot be stored becomes the row's ``problem``."""

    def of_batch(self, texts: Sequence[str], batch: Any) -> Any:
        """From an Arrow batch with the columns to keep."""


def _taken(beside: Any, kept: list[int]) -> Any:
    if beside is None or isinstance(beside, list):
        return beside and [beside[index] for index in kept]
    return beside.take(kept)  # an Arrow batch
