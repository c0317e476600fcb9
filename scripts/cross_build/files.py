"""Files on their way into an archive: the same input gives the same bytes."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIXED_TIME = 1577836800
"""Of every file in an archive: the first second of 2020."""
_DATE = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Entry:
    """A file, or a symbolic link."""

    name: str
    content: bytes = b""
    link: str = ""

    @property
    def mode(self) -> int:
        """Permissions."""
        folder, _, name = self.name.rpartition("/")
        is_program = folder.endswith("bin") or ".so" in name or name.endswith((".dll", ".dylib"))
        return 0o755 if is_program else 0o644


def entries_below(folder: Path, prefix: str = "") -> Iterator[Entry]:
    """The files below ``folder``, sorted, with names that start with ``prefix``."""
    for file in sorted(folder.rglob("*")):
        name = prefix + file.relative_to(folder).as_posix()
        if file.is_symlink():
            yield Entry(name, link=os.readlink(file))
        elif file.is_file():
            yield Entry(name, file.read_bytes())


def write_zip(file: Path, entries: list[Entry]) -> None:
    """Write a zip archive of ``entries``, none of which is a link."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name, _DATE)
            info.external_attr = (stat.S_IFREG | entry.mode) << 16
            archive.writestr(info, entry.content, zipfile.ZIP_DEFLATED, compresslevel=9)
