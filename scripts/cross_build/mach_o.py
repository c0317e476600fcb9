"""Libraries of macOS for one processor of 64 bits (<mach-o/loader.h>)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAGIC = b"\xcf\xfa\xed\xfe"

_OF_THE_LINKER = {"__dso_handle", "_mh_dylib_header"}
"""Names of the library's own address, which zig's linker always exports."""
_LC_LOAD_DYLIB, _LC_DYLD_INFO, _LC_EXPORTS_TRIE = 0xC, 0x80000022, 0x80000033


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


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _exports(trie: bytes, at: int = 0, name: str = "") -> set[str]:
    """Names in a trie of exports, below a node."""
    size, at = _number(trie, at)
    found = {name.removeprefix("_")} if size else set()
    at += size
    children, at = trie[at], at + 1
    for _ in range(children):
        edge = _string(trie, at)
        child, at = _number(trie, at + len(edge) + 1)
        found |= _exports(trie, child, name + edge)
    return found


def exports_and_needs(data: bytes) -> tuple[set[str], set[str]]:
    """Names that a library exports, without the underscore of C, and libraries that it needs."""
    exports, needs = set(), set()
    for kind, at in _commands(data):
        if kind in (_LC_DYLD_INFO, _LC_EXPORTS_TRIE):
            start, size = struct.unpack_from("<2I", data, at + (40 if kind == _LC_DYLD_INFO else 8))
            exports |= _exports(data[start : start + size]) if size else set()
        elif kind == _LC_LOAD_DYLIB:
            needs.add(_string(data, at + struct.unpack_from("<I", data, at + 8)[0]))
    return exports - _OF_THE_LINKER, needs
