"""Rows between a file and their vectors, and the rows that cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from m3e_runtime.chunking import LateWindow
from m3e_runtime.tokenization import TokenIds

__all__ = [
    "CHUNK_COLUMNS",
    "READ_BYTES",
    "READ_ROWS",
    "ROW_LIMIT",
    "BadRow",
    "ChunkPlaces",
    "ParsedRow",
    "Payload",
    "PayloadBuilder",
    "Rows",
]

READ_ROWS = 1024
READ_BYTES = 1 << 20
"""Limits of what is read at a time. This is enough for the tokenizer to keep all cores busy."""

ROW_LIMIT = 8 << 20
"""Longest row in bytes. A file without line ends must not be read into memory as one row."""


CHUNK_COLUMNS = ("chunk", "start", "end")
"""Columns that rows of chunks get."""


class BadRow(msgspec.Struct, frozen=True):
    """A row that has no vector.

    Attributes:
        file: name of the file.
        place: ``line 3`` or ``row 17``, counted from 1.
        problem: why the row cannot be encoded.
    """

    file: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.problem}"


@dataclass(slots=True)
class ParsedRow:
    """A row of a text file.

    Attributes:
        number: number of its last line, counted from 1 at the start of the slice.
        end: byte of the file after the row.
        text: the text to encode.
        prompt: the row's own prompt.
        values: the other fields; None if the row could not be parsed.
        problem: why this is a bad row; None for a good one.
    """

    number: int
    end: int
    text: str = ""
    prompt: str = ""
    values: Mapping[str, Any] | None = None
    problem: str | None = None


class ChunkPlaces(NamedTuple):
    """The chunks of some rows, one after the other.

    Attributes:
        rows: which of the rows each chunk belongs to.
        chunk: its number among the chunks of its row, counted from 0.
        start: where it begins in the text of its row, in characters.
        end: where it ends.
    """

    rows: list[int]
    chunk: list[int]
    start: list[int]
    end: list[int]

    @property
    def columns(self) -> dict[str, list[int]]:
        """What is stored of each chunk, by the names of the columns."""
        return dict(zip(CHUNK_COLUMNS, (self.chunk, self.start, self.end), strict=True))


class Payload(Protocol):
    """What is stored beside the vectors of some rows."""

    def with_chunks(self, places: ChunkPlaces, field: str | None, texts: Sequence[str]) -> Payload:
        """The payload of the chunks of these rows: that of their row, and their places in it.

        The column ``field``, if there is one, gets the texts of the chunks.
        """

    def take(self, indices: Sequence[int]) -> Payload:
        """Select the payload of some of the rows."""


class PayloadBuilder(Protocol):
    """Builds the payload of rows."""

    def from_rows(self, rows: Sequence[ParsedRow]) -> Payload:
        """Build the payload of a text file's rows.

        A row with a value that cannot be stored gets a ``problem`` and is left out.
        """

    def from_record_batch(self, texts: Sequence[str], batch: Any) -> Payload:
        """Build the payload from an Arrow record batch that has the columns to keep."""


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a file.

    Attributes:
        texts: the texts of the good rows.
        prompts: one prompt for each text; None if all texts have the same.
        payload: what is stored beside the vectors.
        numbers: the number of each good row.
        locate: makes a bad row from a row's number and a problem.
        bad: the bad rows.
        size: bytes of the input that all these rows take, for the progress bar.
        divided: rows of the input that are several of these.
        token_ids: the tokens of each text with its prompt, if they are known.
        windows: for late chunking, what the model reads at once; in their order they have all texts.
    """

    texts: Sequence[str]
    prompts: Sequence[str] | None
    payload: Payload
    numbers: Sequence[int]
    locate: Callable[[int, str], BadRow]
    bad: Sequence[BadRow]
    size: int
    divided: int = 0
    token_ids: Sequence[TokenIds] | None = None
    windows: Sequence[LateWindow] | None = None

    def without(self, indices: Sequence[int], problem: str) -> Rows:
        """Turn some good rows into bad ones."""
        dropped = set(indices)
        kept = [index for index in range(len(self.texts)) if index not in dropped]
        return Rows(
            [self.texts[index] for index in kept],
            self.prompts and [self.prompts[index] for index in kept],
            self.payload.take(kept),
            [self.numbers[index] for index in kept],
            self.locate,
            [*self.bad, *(self.locate(self.numbers[index], problem) for index in indices)],
            self.size,
        )
