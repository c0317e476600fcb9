"""Encodings of text files: those in which a line ends with the byte 0x0A, and that byte is nothing else."""

from __future__ import annotations

import codecs

from m3e_runtime.errors import OptionError

__all__ = ["UTF_8", "byte_order_mark", "encoding_of"]

UTF_8 = "utf-8"

_ASCII = (rb"\u0041\x41 +AGE- ~{VP~} .xn--fiq228c.", bytes(range(128)))
"""What means something else to Python's escapes, UTF-7, HZ and IDNA, and all of ASCII."""


def encoding_of(name: str) -> str:
    """Python's name of an encoding.

    Args:
        name: any that :func:`codecs.lookup` knows.

    Raises:
        OptionError: unknown, or files of it cannot be cut into lines by their bytes.
    """
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise OptionError(
            f"--encoding {name}: unknown to Python; e.g. gb18030, big5 or shift_jis."
        ) from error
    if not _has_lines(known):
        raise OptionError(
            f"--encoding {name}: not a superset of ASCII, so that its lines cannot be told apart; convert "
            f"the input first, e.g. `iconv -f {name} -t UTF-8`."
        )
    return UTF_8 if known == "utf-8-sig" else known  # a mark at the beginning is never part of a text


def byte_order_mark(encoding: str) -> bytes:
    """U+FEFF, with which a file may begin; empty where the encoding has no such character."""
    try:
        return "\ufeff".encode(encoding)
    except UnicodeEncodeError:
        return b""


def _has_lines(encoding: str) -> bool:
    try:
        if any(data.decode(encoding) != data.decode("ascii") for data in _ASCII):
            return False
    except (UnicodeError, LookupError):  # a LookupError: base64 and others that are not of text
        return False
    return all(_ends_line(bytes([byte, 0x0A]), encoding) for byte in range(0x80, 0x100))


def _ends_line(data: bytes, encoding: str) -> bool:
    """Whether LF after a byte is a line's end, or the byte is an error there."""
    try:
        return data.decode(encoding).endswith("\n")
    except UnicodeError:
        return True
