"""JSON Lines: each line that is not blank is an object."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from m3e_corpora.inputs.column_types import infer_field
from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile, open_input
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
from m3e_corpora.inputs.nested import OBJECT, value_at
from m3e_corpora.inputs.rows import Beside, ParsedRow, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import OptionError

__all__ = ["JsonLinesFormat"]

_SAMPLE = 1000
"""Rows from whose values the types of columns are taken."""


class JsonLinesFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`."""

    declares_types = False

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """Types from the first rows, or from the folders' names; one without any value is a string."""
        if not reading.columns:
            return []
        if file.path == STANDARD_INPUT:
            raise OptionError(
                "--keep with JSON Lines on standard input needs an output of .jsonl: the types of columns "
                "are taken from the first rows, before the others are read."
            )
        samples = _sample(file, reading)
        folders = folder_values(file, reading.folder_types)
        found = {name: [each[name] for each in samples if name in each] for name in reading.columns}
        missing = [name for name, values in found.items() if not values and name not in folders]
        if missing and samples:
            raise OptionError(f"{file.name}: no {', '.join(map(repr, missing))} in the first rows.")
        return [
            infer_field(name, [msgspec.json.decode(value) for value in values])
            if values or name not in folders
            else folder_field(name, reading.folder_types)
            for name, values in found.items()
        ]

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Byte ranges."""
        del reading
        return byte_slices(index, file, target)

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The objects of a range."""
        numbers = LineNumbers(file, piece.start)
        with open_input(file) as stream:
            lines = read_lines(stream, piece, reading.encoding)
            parsed = _objects(lines, reading, folder_values(file, reading.folder_types))
            yield from into_chunks(parsed, piece.start, reading, beside, numbers.locate)


def _sample(file: InputFile, reading: Reading) -> list[Mapping[str, Any]]:
    with open_input(file) as stream:
        lines = read_lines(stream, Slice(0, 0, None, 0), reading.encoding)
        rows = itertools.islice(_objects(lines, reading, {}), _SAMPLE)
        return [row.values for row in rows if row.values is not None]


def _objects(
    lines: Iterator[RawLine], reading: Reading, folders: Mapping[str, FolderValue]
) -> Iterator[ParsedRow]:
    for line in lines:
        row, content = ParsedRow(line.number, line.end), line.content
        if content is None:
            row.problem = TOO_LONG
        elif not content.strip():
            continue
        else:
            _parse(row, content, reading, folders)
        yield row


def _parse(row: ParsedRow, line: bytes, reading: Reading, folders: Mapping[str, FolderValue]) -> None:
    try:
        text = line.decode(reading.encoding)
    except UnicodeDecodeError as error:
        row.problem = undecodable(error, reading.encoding)
        return
    try:
        values = OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        row.problem = _why_not_an_object(text, error)
        return
    row.values = values if reading.keep is None else _kept(values, reading, folders)
    row.text = _string(row, values, reading.field, "--field")
    if reading.prompt_field is not None and row.problem is None:
        row.prompt = _string(row, values, reading.prompt_field, "--prompt-field")


def _kept(
    values: Mapping[str, Any], reading: Reading, folders: Mapping[str, FolderValue]
) -> Mapping[str, Any]:
    """The columns to keep that there are; what a folder says is for an object that says nothing itself."""
    kept = dict(folders)
    for name in reading.columns:
        found = value_at(values, name)
        if found is not None:
            kept[name] = found
    return kept


def _string(row: ParsedRow, values: Mapping[str, Any], field: str, option: str) -> str:
    value = value_at(values, field)
    if value is None:
        known = ", ".join(map(repr, values)) or "none"
        row.problem = f"no field {field!r} (the fields are: {known}); name it with {option}."
        return ""
    try:
        return msgspec.json.decode(value, type=str)
    except msgspec.DecodeError as error:
        row.problem = f"field {field!r} is not a string ({error})."
        return ""


def _why_not_an_object(text: str, error: Exception) -> str:
    """The strict decoder has no words of its own for a lone surrogate; the standard one lets it pass."""
    if isinstance(error, msgspec.ValidationError):
        return f"not a JSON object ({error})."
    with contextlib.suppress(ValueError, RecursionError):
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return "holds a lone surrogate (\\ud800 to \\udfff without its other half), not valid Unicode."
    return f"not valid JSON ({error})."
