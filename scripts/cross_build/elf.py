"""ELF files, little-endian, of 32 and 64 bits (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF"

SHT_SYMTAB, SHT_RELA, SHT_DYNAMIC, SHT_REL, SHT_DYNSYM, SHT_GROUP = 2, 4, 6, 9, 11, 17
SHT_GNU_VERNEED = 0x6FFFFFFE
SHF_GROUP = 0x200
STB_LOCAL = 0
SHN_UNDEF = 0
_DT_NEEDED = 1


@dataclass
class Section:
    """A section header; `at` is its place in the file."""

    at: int
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry: int


@dataclass
class Symbol:
    """An entry of a symbol table, with its bytes as they are."""

    name: str
    info: int
    section: int
    raw: bytes

    @property
    def binding(self) -> int:
        """One of STB_LOCAL, ..."""
        return self.info >> 4


class Elf:
    """The sections of a file."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self.wide = data[4] == 2
        header = struct.unpack_from("<QIHHHHHH" if self.wide else "<IIHHHHHH", data, 40 if self.wide else 32)
        table, size, count = header[0], header[5], header[6]
        form = "<IIQQQQIIQQ" if self.wide else "<IIIIIIIIII"
        self.sections = []
        for at in range(table, table + size * count, size):
            _, kind, flags, _, offset, length, link, info, _, entry = struct.unpack_from(form, data, at)
            self.sections.append(Section(at, kind, flags, offset, length, link, info, entry))

    def of_type(self, kind: int) -> list[Section]:
        """The sections of one type."""
        return [section for section in self.sections if section.type == kind]

    def string(self, table: Section, offset: int) -> str:
        """A string of a string table."""
        start = table.offset + offset
        return bytes(self.data[start : self.data.index(0, start)]).decode()

    def symbols(self, table: Section) -> list[Symbol]:
        """The entries of a symbol table."""
        names, symbols = self.sections[table.link], []
        for at in range(table.offset, table.offset + table.size, table.entry):
            name = struct.unpack_from("<I", self.data, at)[0]
            info, _, section = struct.unpack_from("<BBH", self.data, at + (4 if self.wide else 12))
            raw = bytes(self.data[at : at + table.entry])
            symbols.append(Symbol(self.string(names, name), info, section, raw))
        return symbols

    def needed(self) -> set[str]:
        """Names of the libraries that are loaded with this one."""
        form, found = "<QQ" if self.wide else "<II", set()
        for table in self.of_type(SHT_DYNAMIC):
            content = self.data[table.offset : table.offset + table.size]
            for tag, value in struct.iter_unpack(form, content):
                if tag == _DT_NEEDED:
                    found.add(self.string(self.sections[table.link], value))
        return found

    def needed_versions(self) -> set[str]:
        """Versions of symbols, such as GLIBC_2.17."""
        found = set()
        for table in self.of_type(SHT_GNU_VERNEED):
            names, at = self.sections[table.link], table.offset
            for _ in range(table.info):
                _, count, _, first, following = struct.unpack_from("<HHIII", self.data, at)
                version = at + first
                for _ in range(count):
                    _, _, _, name, step = struct.unpack_from("<IHHII", self.data, version)
                    found.add(self.string(names, name))
                    version += step
                at += following
        return found


def exports_and_needs(data: bytes) -> tuple[set[str], set[str], set[str]]:
    """Names that a shared library exports, libraries that it needs, and versions of their symbols."""
    elf = Elf(data)
    symbols = [symbol for table in elf.of_type(SHT_DYNSYM) for symbol in elf.symbols(table)]
    exports = {s.name for s in symbols if s.binding != STB_LOCAL and s.section != SHN_UNDEF}
    return exports, elf.needed(), elf.needed_versions()
