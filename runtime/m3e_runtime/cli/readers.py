"""Rows to encode, read line by line from text or JSON Lines."""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from m3e_runtime.errors import InvalidTextError, M3EError

__all__ = ["DEFAULT_FIELD", "INPUT_FORMATS", "Row", "input_format", "open_input", "read_rows"]

INPUT_FORMATS = ("text", "jsonl")
DEFAULT_FIELD = "text"

_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
_STANDARD_INPUT = "-"


class UnreadableInputError(M3EError):
    """The input file is missing, or reading it fails."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A text to encode and the fields to keep beside its vector; values may still be undecoded JSON."""

    text: str
    fields: Mapping[str, object]
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    number: int
    text: str

    def error(self, problem: str) -> InvalidTextError:
        return InvalidTextError(f"{self.name}, line {self.number}: {problem}")


_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])  # other fields go to the output as they came


def input_format(source: str, asked: str | None) -> str:
    """The format ``asked`` for, or the one that the suffix of ``source`` tells."""
    if asked is not None:
        return asked
    return "jsonl" if Path(source).suffix.lower() in _JSON_LINES_SUFFIXES else "text"


def open_input(source: str) -> AbstractContextManager[BinaryIO]:
    """Open the file ``source``, or take standard input for ``-`` (which stays open).

    Raises:
        UnreadableInputError: the file is missing or cannot be read.
    """
    if source == _STANDARD_INPUT:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise _unreadable(source, error) from error


def read_rows(
    stream: BinaryIO, source: str, file_format: str, field: str, prompt_field: str | None = None
) -> Iterator[Row]:
    """Read rows as they are asked for; only one line is held.

    Args:
        stream: the input, UTF-8 with or without a byte order mark, lines ended by LF or CRLF.
        source: name of the input for messages; ``-`` is standard input.
        file_format: ``text``: each line is a text, an empty one too, so that rows keep the numbers of the
            lines. ``jsonl``: each line that is not blank is an object.
        field: where the text is in an object.
        prompt_field: where its prompt is, if each has its own.

    Raises:
        InvalidTextError: a line that is not UTF-8, not an object, or without a valid text in a field.
        UnreadableInputError: reading fails half-way.
    """
    lines = _lines(stream, "standard input" if source == _STANDARD_INPUT else source)
    if file_format == "text":
        return (Row(line.text, {DEFAULT_FIELD: line.text}) for line in lines)
    return (_object_row(line, field, prompt_field) for line in lines if line.text.strip())


def _lines(stream: BinaryIO, name: str) -> Iterator[_Line]:
    for number, data in enumerate(_raw_lines(stream, name), start=1):
        # Only LF ends a line: str.splitlines would also cut at U+2028 and others, inside a text.
        content = data.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield _Line(name, number, content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise _Line(name, number, "").error(
                f"not UTF-8 ({error.reason} at byte {error.start + 1} of the line); "
                "convert the input first, e.g. `iconv -f GB18030 -t UTF-8`."
            ) from error


def _raw_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        first = stream.readline().removeprefix(codecs.BOM_UTF8)
        if first:
            yield first
        yield from stream
    except OSError as error:
        raise _unreadable(name, error) from error


def _object_row(line: _Line, field: str, prompt_field: str | None) -> Row:
    try:
        fields = _object_decoder.decode(line.text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise line.error(_why_not_an_object(line.text, error)) from error
    text = _string(line, fields, field, "--field")
    if prompt_field is None:
        return Row(text, fields)
    return Row(text, fields, _string(line, fields, prompt_field, "--prompt-field"))


def _string(line: _Line, fields: Mapping[str, msgspec.Raw], field: str, option: str) -> str:
    if field not in fields:
        known = ", ".join(map(repr, fields)) or "none"
        raise line.error(f"no field {field!r} (the fields are: {known}); name it with {option}.")
    try:
        return msgspec.json.decode(fields[field], type=str)
    except msgspec.DecodeError as error:
        raise line.error(f"field {field!r} is not a string ({error}).") from error


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


def _unreadable(name: str, error: OSError) -> UnreadableInputError:
    return UnreadableInputError(f"{name}: cannot be read ({error.strerror or error}).")
