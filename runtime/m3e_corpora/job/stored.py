"""Structs as JSON and back, for files and messages that only this package reads.

The standard library's JSON is used because msgspec's cannot represent file names that are not UTF-8.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

__all__ = ["from_json", "to_json"]

Stored = TypeVar("Stored")


def to_json(content: object, indent: int | None = None) -> bytes:
    """Serialize a struct or a named tuple as ASCII."""
    return json.dumps(msgspec.to_builtins(content), indent=indent).encode("ascii")


def from_json(data: bytes | str, kind: type[Stored]) -> Stored:
    """Restore what :func:`to_json` wrote.

    Raises:
        ValueError: the data is not JSON, or not of this kind.
    """
    try:
        return msgspec.convert(json.loads(data), kind)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
