"""Windows libraries (https://learn.microsoft.com/windows/win32/debug/pe-format)."""

from __future__ import annotations

import struct

MAGIC = b"MZ"

_DIRECTORIES = {0x10B: 96, 0x20B: 112}
"""Offset of the data directories in the optional header of PE32 and PE32+."""


class _Image:
    def __init__(self, data: bytes) -> None:
        self.data = data
        (start,) = struct.unpack_from("<I", data, 0x3C)
        sections, optional_size = struct.unpack_from("<H12xH", data, start + 6)
        optional = start + 24
        (kind,) = struct.unpack_from("<H", data, optional)
        self.directories = optional + _DIRECTORIES[kind]
        table = optional + optional_size
        self.sections = [struct.unpack_from("<8x4I", data, table + 40 * i) for i in range(sections)]

    def offset(self, address: int) -> int:
        """Place in the file of what the loader puts at a relative address."""
        for size, start, raw_size, raw in self.sections:
            if start <= address < start + max(size, raw_size):
                return int(raw + address - start)
        raise ValueError(f"no section has the address {address:#x}")

    def directory(self, number: int) -> int | None:
        (address,) = struct.unpack_from("<I", self.data, self.directories + 8 * number)
        return self.offset(address) if address else None

    def string(self, address: int) -> str:
        start = self.offset(address)
        return self.data[start : self.data.index(0, start)].decode()


def _exports(image: _Image) -> set[str]:
    table = image.directory(0)
    if table is None:
        return set()
    count, _, names = struct.unpack_from("<3I", image.data, table + 24)
    return {image.string(a) for a in struct.unpack_from(f"<{count}I", image.data, image.offset(names))}


def _imports(image: _Image) -> set[str]:
    at, found = image.directory(1), set()
    while at is not None:
        (name,) = struct.unpack_from("<12xI", image.data, at)
        if not name:
            break
        found.add(image.string(name))
        at += 20
    return found


def exports_and_needs(data: bytes) -> tuple[set[str], set[str]]:
    """Names that a DLL exports, and the DLLs that it needs."""
    image = _Image(data)
    return _exports(image), _imports(image)
