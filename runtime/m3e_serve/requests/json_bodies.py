"""Decoding JSON bodies, with error messages that name the faulty value."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from m3e_serve.errors import ApiError

__all__ = ["BodyDecoder"]

_T = TypeVar("_T")
_OTHER_ENCODINGS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MAX_PATH = 100  # characters; the client chooses the field names
_BAD_BYTES = range(0xDC80, 0xDD00)
"""``surrogateescape`` decodes invalid bytes to these characters. In valid UTF-8, they come from escapes."""


class BodyDecoder(Generic[_T]):
    """Decodes bodies of one type. It skips a byte order mark, as RFC 8259 allows.

    msgspec does not report which text is invalid, or why. A body that it rejects is therefore parsed again by
    Python's parser, which accepts more, and searched for the first fault.
    """

    def __init__(self, kind: type[_T]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> _T:
        """Decode ``body``.

        Raises:
            msgspec.ValidationError: a field is missing or has the wrong type.
            ApiError: 400, the body is not valid JSON, or a string in it is not valid Unicode.
        """
        if body.startswith(codecs.BOM_UTF8):
            body = body[len(codecs.BOM_UTF8) :]
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _explain(body) from error


class _Constant:
    """``NaN`` or ``Infinity``, which are not valid JSON."""

    def __init__(self, name: str) -> None:
        self.name = name


def _explain(body: bytes) -> ApiError:
    if not body.strip():
        return _invalid_json("The body is empty; send a JSON object.")
    if body.startswith(_OTHER_ENCODINGS):
        return _invalid_json("The body is UTF-16 or UTF-32; encode it in UTF-8.")
    try:
        content = json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=_Constant)
        found = next(_faults(content, range(0) if _is_utf8(body) else _BAD_BYTES), None)
    except json.JSONDecodeError as error:
        return _invalid_json(f"The body is not valid JSON: {error.msg}, at character {error.pos}.")
    except RecursionError:
        return _invalid_json("The body is nested too deeply.")
    except ValueError:  # an integer of thousands of digits
        found = None
    return _invalid_value(*found) if found else _invalid_json("The body is not valid JSON in UTF-8.")


def _invalid_value(path: str, fault: str) -> ApiError:
    param = path.split("[")[0].split(".")[0][:_MAX_PATH] or None
    where = path[:_MAX_PATH] or "The body"
    return ApiError(400, f"{where} {fault}", "invalid_value", param, "Tokenizer", 422)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _faults(content: Any, bad_bytes: range, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and description of each value that JSON does not allow, in the order of the body."""
    if isinstance(content, _Constant):
        yield path, f"is {content.name}, which is not valid JSON."
    elif isinstance(content, str):
        if fault := _fault_of_text(content, bad_bytes):
            yield path, fault
    elif isinstance(content, list):
        for index, each in enumerate(content):
            yield from _faults(each, bad_bytes, f"{path}[{index}]")
    elif isinstance(content, dict):
        for name, each in content.items():
            if fault := _fault_of_text(name, bad_bytes):
                yield path, f"has a field whose name {fault}"
            yield from _faults(each, bad_bytes, f"{path}.{name}" if path else name)


def _fault_of_text(text: str, bad_bytes: range) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if code in bad_bytes:
            return f"is not UTF-8: byte 0x{code & 0xFF:02x} at character {error.start}."
        return (
            f"has a lone surrogate, \\u{code:04x} at character {error.start}, which is not valid Unicode; "
            "send the whole pair, or replace it by \\ufffd."
        )
    return None


def _invalid_json(message: str) -> ApiError:
    return ApiError(400, message, "invalid_json")
