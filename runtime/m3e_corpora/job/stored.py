"""Structs as JSON and back, for files and messages that only this package reads.

The standard library's JSON is used because msgspec's cannot represent file names that are not UTF-8.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
import numpy as np

__all__ = ["from_json", "to_json"]

Stored = TypeVar("Stored")


def to_json(content: object, indent: int | None = None) -> bytes:
    """Serialize a struct or a named tuple as ASCII."""
    return json.dumps(msgspec.to_builtins(content, enc_hook=_builtin), indent=indent).encode("ascii")


def _builtin(value: Any) -> Any:
    """A number of numpy, which callers may give as an option, as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored.")


def from_json(data: bytes | str, kind: type[Stored]) -> Stored:
    """Restore what :func:`to_json` wrote.

    Raises:
        ValueError: the data is not JSON, or not of this kind.
    """
    try:
        return msgspec.convert(json.loads(data), kind)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
