"""Git LFS pointers: a clone holds them instead of large files that were not downloaded."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HINT", "is_pointer"]

HINT = "a pointer of Git LFS, not the file itself; run `git lfs pull` in its repository"

_BEGINNING = b"version https://git-lfs.github.com/spec/"
"""The first line of every pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md."""

_LARGEST = 1024  # bytes, by the specification


def is_pointer(file: Path) -> bool:
    """Whether ``file`` is a Git LFS pointer."""
    try:
        if file.stat().st_size >= _LARGEST:
            return False
        with file.open("rb") as stream:
            return stream.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False  # the code that reads the file reports the reason
