"""JSON Lines: each line that is not blank is an object."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

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
from m3e_runtime.corpora.inputs import STANDARD_INPUT, InputFile, open_input
from m3e_runtime.corpora.reading import Reading
from m3e_runtime.corpora.rows import Rows
from m3e_runtime.corpora.slices import Slice
from m3e_runtime.corpora.values import infer_field
from m3e_runtime.errors import OptionError

__all__ = ["JsonLinesFormat"]

_SAMPLE = 1000
"""Rows from whose values the types of columns are taken."""

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])  # other fields go to the output as they came


class JsonLinesFormat:
    """See :class:`m3e_runtime.corpora.formats.Format`."""

    declares_types = False

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """Types from the first rows; one without any value there is a string."""
        if not reading.columns:
            return []
        if file.path == STANDARD_INPUT:
            raise OptionError(
                "--keep with JSON Lines on standard input needs an output of .jsonl: the types of columns "
                "are taken from the first rows, before the others are read."
            )
        samples = _sample(file, reading)
        missing = [name for name in reading.columns if not any(name in sample for sample in samples)]
        if missing and samples:
            raise OptionError(f"{file.name}: no {', '.join(map(repr, missing))} in the first rows.")
        return [
            infer_field(name, [msgspec.json.decode(sample.get(name, b"null")) for sample in samples])
            for name in reading.columns
        ]

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Byte ranges."""
        del reading
        return byte_slices(index, file, target)

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The objects of a range."""
        numbers = LineNumbers(file, piece.start)
        with open_input(file) as stream:
            parsed = _objects(read_lines(stream, piece), reading)
            yield from into_chunks(parsed, piece.start, reading, beside, numbers.locate)


def _sample(file: InputFile, reading: Reading) -> list[Mapping[str, Any]]:
    with open_input(file) as stream:
        rows = itertools.islice(_objects(read_lines(stream, Slice(0, 0, None, 0)), reading), _SAMPLE)
        return [row.values for row in rows if row.values is not None]


def _objects(lines: Iterator[RawLine], reading: Reading) -> Iterator[ParsedRow]:
    for line in lines:
        row, content = ParsedRow(line.number, line.end), line.content
        if content is None:
            row.problem = TOO_LONG
        elif not content.strip():
            continue
        else:
            _parse(row, content, reading)
        yield row


def _parse(row: ParsedRow, line: bytes, reading: Reading) -> None:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        row.problem = not_utf8(error)
        return
    try:
        row.values = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        row.problem = _why_not_an_object(text, error)
        return
    row.text = _string(row, reading.field, "--field")
    if reading.prompt_field is not None and row.problem is None:
        row.prompt = _string(row, reading.prompt_field, "--prompt-field")


def _string(row: ParsedRow, field: str, option: str) -> str:
    values = row.values or {}
    if field not in values:
        known = ", ".join(map(repr, values)) or "none"
        row.problem = f"no field {field!r} (the fields are: {known}); name it with {option}."
        return ""
    try:
        return msgspec.json.decode(values[field], type=str)
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
