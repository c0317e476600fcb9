"""The index of a pack: its files, and which bytes of which file are in which part."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.offline.errors import PackIndexError

__all__ = ["INDEX", "Index", "PackedFile", "Part", "Segment", "digest_of", "is_safe"]

INDEX = "index.json"
_FORMAT = 1


@dataclass(frozen=True)
class PackedFile:
    """A file below the target: its relative path, size in bytes, SHA-256 and whether it is a program."""

    path: str
    size: int
    sha256: str
    executable: bool


@dataclass(frozen=True)
class Segment:
    """``length`` bytes of file number ``file``, from ``offset`` on."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True)
class Part:
    """An xz file of the pack; decompressed, it holds its segments one after the other."""

    name: str
    size: int
    sha256: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Index:
    """All files and parts of a pack."""

    name: str
    files: tuple[PackedFile, ...]
    parts: tuple[Part, ...]

    def write(self, folder: Path) -> None:
        """Write ``folder/index.json``."""
        content = json.dumps({"format": _FORMAT, **asdict(self)}, ensure_ascii=False)
        (folder / INDEX).write_text(content, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Read ``folder/index.json`` and check that its paths stay below a target.

        Raises:
            PackIndexError: there is none, it is not one, or a path or a segment is not possible.
        """
        try:
            content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PackIndexError(f"{folder}: there is no {INDEX}; copy it with the parts.") from error
        except ValueError as error:
            raise PackIndexError(f"{folder / INDEX}: not an index: {error}.") from error
        try:
            index = _parse(content)
        except (KeyError, TypeError, ValueError) as error:
            raise PackIndexError(f"{folder / INDEX}: not an index of format {_FORMAT}: {error!r}.") from error
        _check(index, folder)
        return index

    def parts_of(self, number: int) -> frozenset[str]:
        """Names of the parts that hold bytes of file ``number``."""
        return frozenset(part.name for part in self.parts if any(s.file == number for s in part.segments))

    @property
    def digest(self) -> str:
        """Tells this index from others."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def is_safe(path: str) -> bool:
    """Whether ``path`` is relative and leads nowhere but below the folder that it is joined to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(content: Any) -> Index:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']}")
    parts = (
        Part(**{**part, "segments": tuple(Segment(**segment) for segment in part["segments"])})
        for part in content["parts"]
    )
    return Index(content["name"], tuple(PackedFile(**file) for file in content["files"]), tuple(parts))


def _check(index: Index, folder: Path) -> None:
    for path in (index.name, *(each.path for each in index.files), *(each.name for each in index.parts)):
        if not is_safe(path):
            raise PackIndexError(f"{folder / INDEX}: {path!r} leads out of the target.")
    for segment in (each for part in index.parts for each in part.segments):
        if not 0 <= segment.file < len(index.files):
            raise PackIndexError(f"{folder / INDEX}: there is no file number {segment.file}.")
        if not 0 <= segment.offset < segment.offset + segment.length <= index.files[segment.file].size:
            raise PackIndexError(f"{folder / INDEX}: a segment is outside of its file.")
