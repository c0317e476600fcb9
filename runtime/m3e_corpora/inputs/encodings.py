"""Encodings of text files.

Files are split into lines by their bytes. This needs an encoding in which the byte 0x0A always ends a line.
"""

from __future__ import annotations

import codecs

from m3e_runtime.errors import OptionError

__all__ = ["UTF_8", "byte_order_mark", "encoding_of"]

UTF_8 = "utf-8"

_ASCII = (rb"\u0041\x41 +AGE- ~{VP~} .xn--fiq228c.", bytes(range(128)))
"""Bytes that a superset of ASCII decodes as ASCII.

The first are those that Python's escapes, UTF-7, HZ and IDNA decode differently; the second are all of ASCII.
"""


def encoding_of(name: str) -> str:
    """Look up an encoding and return Python's name for it.

    Args:
        name: a name that :func:`codecs.lookup` knows.

    Raises:
        OptionError: the encoding is unknown, or its files cannot be split into lines by their bytes.
    """
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise OptionError(
            f"--encoding {name}: unknown to Python; use for example gb18030, big5 or shift_jis."
        ) from error
    if not _has_lines(known):
        raise OptionError(
            f"--encoding {name}: not a superset of ASCII, so its lines cannot be found; convert the input "
            f"first, for example with `iconv -f {name} -t UTF-8`."
        )
    return UTF_8 if known == "utf-8-sig" else known  # the byte order mark is removed for every encoding


def byte_order_mark(encoding: str) -> bytes:
    """The bytes of U+FEFF, which may begin a file; empty if the encoding does not have it."""
    try:
        return "\ufeff".encode(encoding)
    except UnicodeEncodeError:
        return b""


def _has_lines(encoding: str) -> bool:
    try:
        if any(data.decode(encoding) != data.decode("ascii") for data in _ASCII):
            return False
    except (UnicodeError, LookupError):  # LookupError: base64 and other codecs that do not decode to text
        return False
    return all(_ends_line(bytes([byte, 0x0A]), encoding) for byte in range(0x80, 0x100))


def _ends_line(data: bytes, encoding: str) -> bool:
    """Whether a line feed after another byte still ends the line. Invalid bytes do not matter."""
    try:
        return data.decode(encoding).endswith("\n")
    except UnicodeError:
        return True
