"""Licences of what is linked into the libraries and programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cross_build.files import Entry
from cross_build.platforms import Platform
from cross_build.tools import Tools


def licences(tools: Tools, platform: Platform, own: Path) -> Iterator[Entry]:
    """Each licence's text, named by its owner."""
    zig = tools.zig.parent
    yield Entry("LICENSE", own.read_bytes())
    yield Entry("zig.txt", (zig / "LICENSE").read_bytes())  # compiler_rt
    yield Entry("libcxx.txt", (zig / "lib/libcxx/LICENSE.TXT").read_bytes())
    yield Entry("libunwind.txt", (zig / "lib/libunwind/LICENSE.TXT").read_bytes())
    if platform.system == "Windows":
        yield Entry("mingw-w64.txt", (zig / "lib/libc/mingw/COPYING").read_bytes())
    elif platform.glibc:  # its startup code
        yield Entry("glibc.txt", (zig / "lib/libc/glibc/LICENSES").read_bytes())
    elif platform.is_elf:
        yield Entry("musl.txt", (zig / "lib/libc/musl/COPYRIGHT").read_bytes())
