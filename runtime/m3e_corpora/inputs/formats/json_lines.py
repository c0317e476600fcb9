"""JSON Lines: every line is an object; blank lines are skipped."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from m3e_corpora.inputs.column_types import infer_field
from m3e_corpora.inputs.columns import Columns
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
from m3e_corpora.inputs.formats.rows import group_rows
from m3e_corpora.inputs.nested import OBJECT, value_at
from m3e_corpora.inputs.rows import ParsedRow, PayloadBuilder, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import OptionError

__all__ = ["JsonLinesFormat"]

_SAMPLE = 1000
"""Rows from which the types of columns are inferred."""


class JsonLinesFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`."""

    declares_types = False

    def fields(self, file: InputFile, columns: Columns) -> list[Any]:
        """Infer types from the first rows or from folder names. A column without values is a string."""
        if not columns.kept:
            return []
        if file.path == STANDARD_INPUT:
            raise OptionError(
                "--keep with JSON Lines on standard input needs an output of .jsonl: other outputs infer the "
                "types of columns from the first rows, and standard input cannot be read twice."
            )
        samples = _sample(file, columns)
        folders = folder_values(file, columns.folder_types)
        found = {name: [each[name] for each in samples if name in each] for name in columns.kept}
        missing = [name for name, values in found.items() if not values and name not in folders]
        if missing and samples:
            raise OptionError(f"{file.name}: no {', '.join(map(repr, missing))} in the first {_SAMPLE} rows.")
        return [
            infer_field(name, [msgspec.json.decode(value) for value in values])
            if values or name not in folders
            else folder_field(name, columns.folder_types)
            for name, values in found.items()
        ]

    def slices(self, index: int, file: InputFile, columns: Columns, slice_bytes: int) -> Iterator[Slice]:
        """Cut the file into byte ranges."""
        del columns
        return byte_slices(index, file, slice_bytes)

    def read(
        self, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
    ) -> Iterator[Rows]:
        """Read the objects of a slice."""
        numbers = LineNumbers(file, slice_.start)
        with open_input(file) as stream:
            lines = read_lines(stream, slice_, columns.encoding)
            parsed = _objects(lines, columns, folder_values(file, columns.folder_types))
            yield from group_rows(parsed, slice_.start, columns, builder, numbers.locate)


def _sample(file: InputFile, columns: Columns) -> list[Mapping[str, Any]]:
    with open_input(file) as stream:
        lines = read_lines(stream, Slice(0, 0, None, 0), columns.encoding)
        rows = itertools.islice(_objects(lines, columns, {}), _SAMPLE)
        return [row.values for row in rows if row.values is not None]


def _objects(
    lines: Iterator[RawLine], columns: Columns, folders: Mapping[str, FolderValue]
) -> Iterator[ParsedRow]:
    for line in lines:
        row, content = ParsedRow(line.number, line.end), line.content
        if content is None:
            row.problem = TOO_LONG
        elif not content.strip():
            continue
        else:
            _parse(row, content, columns, folders)
        yield row


def _parse(row: ParsedRow, line: bytes, columns: Columns, folders: Mapping[str, FolderValue]) -> None:
    try:
        text = line.decode(columns.encoding)
    except UnicodeDecodeError as error:
        row.problem = undecodable(error, columns.encoding)
        return
    try:
        values = OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        row.problem = _why_not_an_object(text, error)
        return
    if columns.keep is None and columns.form == "records" and (taken := _taken(values, columns)):
        row.problem = f"has a field {taken!r}, and the output has one of this name; {columns.remedy(taken)}"
        return
    row.values = values if columns.keep is None else _kept(values, columns, folders)
    row.text = _string(row, values, columns, columns.field)
    if columns.prompt_field is not None and row.problem is None:
        row.prompt = _string(row, values, columns, columns.prompt_field)


def _taken(values: Mapping[str, Any], columns: Columns) -> str | None:
    """The first reserved field that an object has."""
    return next((name for name in columns.reserved if name in values), None)


def _kept(
    values: Mapping[str, Any], columns: Columns, folders: Mapping[str, FolderValue]
) -> Mapping[str, Any]:
    """The columns to keep. An object's own value takes precedence over the folder's."""
    kept = dict(folders)
    for name in columns.kept:
        found = value_at(values, name)
        if found is not None:
            kept[name] = found
    return kept


def _string(row: ParsedRow, values: Mapping[str, Any], columns: Columns, field: str) -> str:
    value = value_at(values, field)
    if value is None:
        known = ", ".join(map(repr, values)) or "none"
        row.problem = f"no field {field!r} (the fields are: {known}); {columns.remedy(field)}"
        return ""
    try:
        return msgspec.json.decode(value, type=str)
    except msgspec.DecodeError as error:
        row.problem = f"field {field!r} is not a string ({error})."
        return ""


def _why_not_an_object(text: str, error: Exception) -> str:
    """Describe the error. The decoder does not name lone surrogates, so they are looked for here."""
    if isinstance(error, msgspec.ValidationError):
        return f"not a JSON object ({error})."
    with contextlib.suppress(ValueError, RecursionError):
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return "holds a lone surrogate (half of a pair, \\ud800 to \\udfff), which is not valid Unicode."
    return f"not valid JSON ({error})."
