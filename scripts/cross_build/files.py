"""Files on their way into an archive: the same input gives the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATE = (2020, 1, 1, 0, 0, 0)
"""Of every file in a zip archive."""
FIXED_TIME = 1577836800
"""The same in seconds since 1970."""


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
