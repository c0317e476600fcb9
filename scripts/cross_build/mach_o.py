"""Libraries of macOS for one processor of 64 bits (<mach-o/loader.h> and <mach-o/nlist.h>)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAGIC = b"\xcf\xfa\xed\xfe"

_LC_SYMTAB, _LC_LOAD_DYLIB = 0x2, 0xC
_N_EXTERNAL, _N_PRIVATE, _N_TYPE = 0x01, 0x10, 0x0E


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(0, start)].decode()


def _commands(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and place of each load command."""
    (count,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(count):
        kind, size = struct.unpack_from("<2I", data, at)
        yield kind, at
        at += size


def _exports(data: bytes, at: int) -> set[str]:
    symbols, count, names = struct.unpack_from("<3I", data, at + 8)
    found = set()
    for i in range(count):
        name, kind = struct.unpack_from("<IB", data, symbols + 16 * i)
        if kind & _N_EXTERNAL and kind & _N_TYPE and not kind & _N_PRIVATE:
            found.add(_string(data, names + name).removeprefix("_"))
    return found


def exports_and_needs(data: bytes) -> tuple[set[str], set[str]]:
    """Names that a library exports, without the underscore of C, and libraries that it needs."""
    exports, needs = set(), set()
    for kind, at in _commands(data):
        if kind == _LC_SYMTAB:
            exports |= _exports(data, at)
        elif kind == _LC_LOAD_DYLIB:
            needs.add(_string(data, at + struct.unpack_from("<I", data, at + 8)[0]))
    return exports, needs
