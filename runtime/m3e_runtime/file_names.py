"""Display of file names that are not UTF-8, which Unix allows.

Python represents the bytes of such a name as lone surrogates (PEP 383), which strict encoders reject.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

__all__ = ["print_any_name", "shown"]

_ESCAPES = "m3e.escapes"


def shown(text: str | os.PathLike[str]) -> str:
    r"""``text`` as valid Unicode: bytes of names that are not UTF-8 become ``\xd6`` and the like."""
    return str(text).encode("utf-8", _ESCAPES).decode("utf-8")


def print_any_name() -> None:
    """Make standard output and error escape characters that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""A codec error handler: ``\xd6`` for a byte of a name, ``\u4e2d`` for any other character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(map(_escape, characters)), error.end


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_ESCAPES, _escaped)
