"""Plain text: each line is a text, an empty one too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m3e_runtime.corpora.beside import Beside, ParsedRow
from m3e_runtime.corpora.formats.lines import (
    TOO_LONG,
    LineNumbers,
    RawLine,
    byte_slices,
    not_utf8,
    read_lines,
)
from m3e_runtime.corpora.formats.rows import into_chunks
from m3e_runtime.corpora.inputs import InputFile, open_input
from m3e_runtime.corpora.reading import Reading
from m3e_runtime.corpora.rows import Rows
from m3e_runtime.corpora.slices import Slice
from m3e_runtime.errors import OptionError

__all__ = ["TextFormat"]


class TextFormat:
    """See :class:`m3e_runtime.corpora.formats.Format`."""

    declares_types = True

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """None."""
        del file, reading
        return []

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Byte ranges."""
        if reading.columns:
            raise OptionError(f"{file.name}: read as text, which has no columns for --keep.")
        return byte_slices(index, file, target)

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The lines of a range."""
        numbers = LineNumbers(file, piece.start)
        with open_input(file) as stream:
            parsed = (_parse(line) for line in read_lines(stream, piece))
            yield from into_chunks(parsed, piece.start, reading, beside, numbers.locate)


def _parse(line: RawLine) -> ParsedRow:
    row = ParsedRow(line.number, line.end)
    content = line.content
    if content is None:
        row.problem = TOO_LONG
        return row
    try:
        row.text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        row.problem = not_utf8(error)
    return row
