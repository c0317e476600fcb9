"""Plain text: each line is a text, an empty one too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import InputFile, open_input
from m3e_corpora.inputs.folder_columns import FolderValue, folder_field, folder_values
from m3e_corpora.inputs.formats.lines import (
    TOO_LONG,
    LineNumbers,
    RawLine,
    byte_slices,
    read_lines,
    undecodable,
)
from m3e_corpora.inputs.formats.rows import into_chunks
from m3e_corpora.inputs.rows import Beside, ParsedRow, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import OptionError

__all__ = ["TextFormat"]


class TextFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`."""

    declares_types = True

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """Those that folders name: a line is all text."""
        _check_columns(file, reading)
        return [folder_field(name, reading.folder_types) for name in reading.columns]

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Byte ranges."""
        _check_columns(file, reading)
        return byte_slices(index, file, target)

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The lines of a range."""
        numbers = LineNumbers(file, piece.start)
        with open_input(file) as stream:
            lines = read_lines(stream, piece, reading.encoding)
            values = folder_values(file, reading.folder_types)
            parsed = (_parse(line, reading.encoding, values) for line in lines)
            yield from into_chunks(parsed, piece.start, reading, beside, numbers.locate)


def _check_columns(file: InputFile, reading: Reading) -> None:
    known = folder_values(file, reading.folder_types)
    if unknown := [name for name in reading.columns if name not in known]:
        raise OptionError(
            f"{file.name}: read as text, which has no columns for --keep, and no folder names "
            f"{', '.join(map(repr, unknown))}."
        )


def _parse(line: RawLine, encoding: str, values: Mapping[str, FolderValue]) -> ParsedRow:
    row = ParsedRow(line.number, line.end, values=values)
    content = line.content
    if content is None:
        row.problem = TOO_LONG
        return row
    try:
        row.text = content.decode(encoding)
    except UnicodeDecodeError as error:
        row.problem = undecodable(error, encoding)
    return row
