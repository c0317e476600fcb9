"""What a finished shared library exports and needs, compared with what is promised."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cross_build import elf, mach_o, pe
from cross_build.failure import Failure
from cross_build.platforms import Platform

MOST_BYTES = 3_000_000

_SYSTEM = {
    "Linux": r"lib(c|m|pthread|dl|rt)\.so(\.\d)?|ld-linux.*\.so\.\d",
    "Darwin": r"/usr/lib/lib(System\.B|c\+\+\.1)\.dylib",
    "Windows": r"(?i)(kernel32|ntdll|advapi32|api-ms-win-crt-.*)\.dll",
}
"""Libraries that every system of the kind has."""


@dataclass
class Library:
    """What a loader reads.

    Attributes:
        exports: names that programs can bind to.
        needed: libraries that are loaded with it.
        versions: of the symbols that it takes from them, such as GLIBC_2.17. ELF only.
    """

    exports: set[str]
    needed: set[str]
    versions: set[str] = field(default_factory=set)


def read_library(file: Path) -> Library:
    """Read an ELF, PE or Mach-O library.

    Raises:
        Failure: it is none of them.
    """
    data = file.read_bytes()
    for reader in (elf, pe, mach_o):
        if data.startswith(reader.MAGIC):
            return Library(*reader.exports_and_needs(data))
    raise Failure(f"{file} is not a shared library")


def _newer(versions: set[str], most: tuple[int, int]) -> list[str]:
    numbers = {name: re.findall(r"\d+", name) for name in versions if name.startswith("GLIBC_")}
    return sorted(name for name, found in numbers.items() if tuple(map(int, found)) > (*most, 0))


def _complaints(library: Library, platform: Platform, size: int) -> list[str]:
    strange = sorted(name for name in library.exports if not name.startswith("m3e_"))
    foreign = sorted(name for name in library.needed if not re.fullmatch(_SYSTEM[platform.system], name))
    newer = _newer(library.versions, platform.glibc) if platform.glibc else []
    return [
        *(["it exports nothing"] if not library.exports else []),
        *([f"it exports {', '.join(strange[:5])}"] if strange else []),
        *([f"it needs {', '.join(foreign)}"] if foreign else []),
        *([f"it needs {', '.join(newer)}"] if newer else []),
        *([f"it has {size} bytes, and {MOST_BYTES} are allowed"] if size > MOST_BYTES else []),
    ]


def check_library(file: Path, platform: Platform) -> None:
    """Compare a library with what its wheel promises.

    Raises:
        Failure: it exports other names than ``m3e_*``, needs what some systems of the platform lack, or is
            large.
    """
    complaints = _complaints(read_library(file), platform, file.stat().st_size)
    if complaints:
        raise Failure(f"{file}: {'; '.join(complaints)}")
