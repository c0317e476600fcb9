"""CSV and TSV with a header line.

A quoted field may contain line ends. A doubled quote in it stands for one quote.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from m3e_corpora.arrow import import_arrow
from m3e_corpora.errors import UnreadableInputError
from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile, open_input
from m3e_corpora.inputs.folder_columns import FolderValue, folder_field, folder_values
from m3e_corpora.inputs.formats.columns import check_columns
from m3e_corpora.inputs.formats.lines import TOO_LONG, LineNumbers, RawLine, read_lines, undecodable
from m3e_corpora.inputs.formats.rows import group_rows
from m3e_corpora.inputs.rows import ROW_LIMIT, ParsedRow, PayloadBuilder, Rows
from m3e_corpora.inputs.slice import Slice

__all__ = ["CsvFormat"]


@dataclass(frozen=True)
class CsvFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`. All columns are strings."""

    delimiter: str
    declares_types = True

    def fields(self, file: InputFile, columns: Columns) -> list[Any]:
        """Return string fields, except for columns that only folders name."""
        arrow = import_arrow("Parquet")
        others = self._not_in_header(file, columns)
        return [
            folder_field(name, columns.folder_types) if name in others else arrow.field(name, arrow.string())
            for name in columns.kept
        ]

    def slices(self, index: int, file: InputFile, columns: Columns, slice_bytes: int) -> Iterator[Slice]:
        """Cut the file into byte ranges that end with a record. This needs to read the whole file."""
        if file.path == STANDARD_INPUT:
            yield Slice(index, 0, None, 0)
            return
        with open_input(file) as stream:
            records = self._records(stream, Slice(index, 0, None, 0), columns)
            check_columns(_header(records, file), file, columns)
            start = stop = records.end
            for record in records:
                if record.end - start > slice_bytes and stop > start:
                    yield Slice(index, start, stop, stop - start)
                    start = stop
                stop = record.end
            yield Slice(index, start, file.size, file.size - start)

    def read(
        self, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
    ) -> Iterator[Rows]:
        """Read the records of a slice, with the header of the file."""
        numbers = LineNumbers(file, slice_.start)
        with open_input(file) as stream:
            records = self._records(stream, Slice(slice_.file, 0, None, 0), columns)
            header = _header(records, file)
            if slice_.stop is not None:
                records = self._records(stream, slice_, columns)
            check_columns(header, file, columns)
            values = folder_values(file, columns.folder_types)
            parsed = (_parse(record, header, columns, values) for record in records)
            yield from group_rows(parsed, slice_.start, columns, builder, numbers.locate)

    def _records(self, stream: BinaryIO, slice_: Slice, columns: Columns) -> _Records:
        return _Records(read_lines(stream, slice_, columns.encoding), self.delimiter, columns.encoding)

    def _not_in_header(self, file: InputFile, columns: Columns) -> set[str]:
        """Columns that folders name and the header does not."""
        if not columns.folder_types:
            return set()
        with open_input(file) as stream:
            header = _header(self._records(stream, Slice(0, 0, None, 0), columns), file)
        return set(folder_values(file, columns.folder_types)) - set(header)


@dataclass(slots=True)
class _Record:
    number: int
    end: int
    values: list[str]
    problem: str | None


class _Records:
    """Parses lines into records. After a record that cannot be parsed the next line begins a new one."""

    def __init__(self, lines: Iterator[RawLine], delimiter: str, encoding: str) -> None:
        # The csv module has only a global limit. It is raised and never lowered, so other code is safe.
        csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
        self._lines = lines
        self._encoding = encoding
        self._number = 0
        self.end = 0
        self._problem: str | None = None
        self._reader = csv.reader(self._decoded(), delimiter=delimiter, strict=True)

    def __iter__(self) -> Iterator[_Record]:
        return self

    def __next__(self) -> _Record:
        while True:
            self._problem = None
            try:
                values = next(self._reader)
            except csv.Error as error:
                values, self._problem = [], self._problem or f"not valid CSV ({error})."
            if values or self._problem:
                return _Record(self._number, self.end, values, self._problem)

    def _decoded(self) -> Iterator[str]:
        for line in self._lines:
            self._number, self.end = line.number, line.end
            yield self._decode(line)

    def _decode(self, line: RawLine) -> str:
        if line.data is None:
            self._problem = TOO_LONG
            return "\n"
        try:
            return line.data.decode(self._encoding)
        except UnicodeDecodeError as error:
            self._problem = undecodable(error, self._encoding)
            # ASCII is enough to find quotes. Otherwise a truncated character could swallow the line end.
            return line.data.decode("ascii", "replace")


def _header(records: _Records, file: InputFile) -> list[str]:
    record = next(records, None)
    problem = record.problem if record else "empty."
    if problem or record is None:
        raise UnreadableInputError(f"{file.name}: no header line: {problem}")
    return record.values


def _parse(
    record: _Record, header: list[str], columns: Columns, folders: Mapping[str, FolderValue]
) -> ParsedRow:
    row = ParsedRow(record.number, record.end, problem=record.problem)
    if row.problem is None and len(record.values) != len(header):
        row.problem = f"{len(record.values)} fields, but the header has {len(header)}."
    if row.problem is None:
        values = dict(zip(header, record.values, strict=True))
        row.text = values[columns.field]
        row.prompt = values[columns.prompt_field] if columns.prompt_field is not None else ""
        row.values = {name: values[name] if name in values else folders[name] for name in columns.kept}
    return row
