"""Archives for C: header, libraries, the program m3e, and what CMake and pkg-config need."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from cross_build.files import FIXED_TIME, Entry, entries_below, write_zip


def write_archive(folder: Path, file: Path, licences: Iterable[Entry]) -> Path:
    """Pack what CMake installed into ``folder``, with the licences; returns ``file``."""
    root = file.name.removesuffix(".zip").removesuffix(".tar.gz")
    entries = [*entries_below(folder, f"{root}/")]
    known = {entry.name for entry in entries}
    texts = [Entry(f"{root}/share/licenses/m3e/{entry.name}", entry.content) for entry in licences]
    entries += [entry for entry in texts if entry.name not in known]
    unfinished = file.with_name(file.name + ".unfinished")
    (write_zip if file.suffix == ".zip" else _write_tar)(unfinished, entries)
    return unfinished.replace(file)


def _write_tar(file: Path, entries: list[Entry]) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mtime, info.mode, info.size = FIXED_TIME, entry.mode, len(entry.content)
            if entry.link:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            archive.addfile(info, io.BytesIO(entry.content))
