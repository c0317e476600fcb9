"""CSV and TSV: a header, then records; a quoted field may hold line ends, doubled quotes stand for one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from m3e_corpora.arrow import import_arrow
from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile, open_input
from m3e_corpora.inputs.folder_columns import FolderValue, folder_field, folder_values
from m3e_corpora.inputs.formats.columns import check_columns
from m3e_corpora.inputs.formats.lines import TOO_LONG, LineNumbers, RawLine, read_lines, undecodable
from m3e_corpora.inputs.formats.rows import into_chunks
from m3e_corpora.inputs.rows import ROW_LIMIT, Beside, ParsedRow, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import UnreadableInputError

__all__ = ["CsvFormat"]


@dataclass(frozen=True)
class CsvFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`. Columns are strings: a CSV file declares no types."""

    delimiter: str
    declares_types = True

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """All strings, but for those that only folders name."""
        arrow = import_arrow("Parquet")
        others = self._not_in_header(file, reading)
        return [
            folder_field(name, reading.folder_types) if name in others else arrow.field(name, arrow.string())
            for name in reading.columns
        ]

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Byte ranges that end where a record does, which only reading all of the file can tell."""
        if file.path == STANDARD_INPUT:
            yield Slice(index, 0, None, 0)
            return
        with open_input(file) as stream:
            records = self._records(stream, Slice(index, 0, None, 0), reading)
            check_columns(_header(records, file), file, reading)
            start = stop = records.end
            for record in records:
                if record.end - start > target and stop > start:
                    yield Slice(index, start, stop, stop - start)
                    start = stop
                stop = record.end
            yield Slice(index, start, file.size, file.size - start)

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The records of a range, under the header of the file."""
        numbers = LineNumbers(file, piece.start)
        with open_input(file) as stream:
            records = self._records(stream, Slice(piece.file, 0, None, 0), reading)
            header = _header(records, file)
            if piece.stop is not None:
                records = self._records(stream, piece, reading)
            check_columns(header, file, reading)
            values = folder_values(file, reading.folder_types)
            parsed = (_parse(record, header, reading, values) for record in records)
            yield from into_chunks(parsed, piece.start, reading, beside, numbers.locate)

    def _records(self, stream: BinaryIO, piece: Slice, reading: Reading) -> _Records:
        return _Records(read_lines(stream, piece, reading.encoding), self.delimiter, reading.encoding)

    def _not_in_header(self, file: InputFile, reading: Reading) -> set[str]:
        """Columns that only folders name."""
        if not reading.folder_types:
            return set()
        with open_input(file) as stream:
            header = _header(self._records(stream, Slice(0, 0, None, 0), reading), file)
        return set(folder_values(file, reading.folder_types)) - set(header)


@dataclass(slots=True)
class _Record:
    number: int
    end: int
    values: list[str]
    problem: str | None


class _Records:
    """Records of lines; one that cannot be parsed is a problem, and the next line begins another."""

    def __init__(self, lines: Iterator[RawLine], delimiter: str, encoding: str) -> None:
        # The limit is the module's: it has no other. Larger than its default, so nobody's file breaks.
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
            # As ASCII, for the quotes: in other encodings a character that breaks off takes the line's end.
            return line.data.decode("ascii", "replace")


def _header(records: _Records, file: InputFile) -> list[str]:
    record = next(records, None)
    problem = record.problem if record else "empty."
    if problem or record is None:
        raise UnreadableInputError(f"{file.name}: no header line: {problem}")
    return record.values


def _parse(
    record: _Record, header: list[str], reading: Reading, folders: Mapping[str, FolderValue]
) -> ParsedRow:
    row = ParsedRow(record.number, record.end, problem=record.problem)
    if row.problem is None and len(record.values) != len(header):
        row.problem = f"{len(record.values)} fields, and the header has {len(header)}."
    if row.problem is None:
        values = dict(zip(header, record.values, strict=True))
        row.text = values[reading.field]
        row.prompt = values[reading.prompt_field] if reading.prompt_field is not None else ""
        row.values = {name: values[name] if name in values else folders[name] for name in reading.columns}
    return row
