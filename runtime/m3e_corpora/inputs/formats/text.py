"""Plain text: every line is a text, including empty lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from m3e_corpora.inputs.columns import Columns
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
from m3e_corpora.inputs.formats.rows import group_rows
from m3e_corpora.inputs.rows import ParsedRow, PayloadBuilder, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import OptionError

__all__ = ["TextFormat"]


class TextFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`."""

    declares_types = True

    def fields(self, file: InputFile, columns: Columns) -> list[Any]:
        """Return the fields that folders name; the file itself has only texts."""
        _check_columns(file, columns)
        return [folder_field(name, columns.folder_types) for name in columns.kept]

    def slices(self, index: int, file: InputFile, columns: Columns, slice_bytes: int) -> Iterator[Slice]:
        """Cut the file into byte ranges."""
        _check_columns(file, columns)
        return byte_slices(index, file, slice_bytes)

    def read(
        self, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
    ) -> Iterator[Rows]:
        """Read the lines of a slice."""
        numbers = LineNumbers(file, slice_.start)
        with open_input(file) as stream:
            lines = read_lines(stream, slice_, columns.encoding)
            values = folder_values(file, columns.folder_types)
            parsed = (_parse(line, columns.encoding, values) for line in lines)
            yield from group_rows(parsed, slice_.start, columns, builder, numbers.locate)


def _check_columns(file: InputFile, columns: Columns) -> None:
    known = folder_values(file, columns.folder_types)
    if unknown := [name for name in columns.kept if name not in known]:
        raise OptionError(
            f"{file.name}: is read as text, which has no columns for --keep, and no folder names "
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
