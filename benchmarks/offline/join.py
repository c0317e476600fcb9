"""``python -m benchmarks.offline.join``: put together the files of packs, from the parts that are there.

Run it after each copy. Parts may come in any order, and those that have been joined need not be there again.
A package appears in the target when all of it is there and the SHA-256 of each file is right. The state is
kept in the target.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.offline.errors import DamagedError, OfflineError, PackIndexError
from benchmarks.offline.index import INDEX, Index, PackedFile, Part, digest_of

__all__ = ["INCOMPLETE", "Progress", "find_packs", "join"]

INCOMPLETE = 3
"""The exit code while parts are missing."""

_BLOCK = 1 << 20
"""Bytes that are read at a time."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.join", description=__doc__)
    parser.add_argument("packs", type=Path, help="a folder with a pack, or with folders of packs")
    parser.add_argument("--target", type=Path, required=True, help="where the files belong")
    options = parser.parse_args()
    try:
        found = [join(folder, options.target) for folder in find_packs(options.packs)]
    except (OfflineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    for progress in found:
        print(progress)
    sys.exit(0 if all(progress.complete for progress in found) else INCOMPLETE)


@dataclass(frozen=True)
class Progress:
    """What has been joined of a pack, and the names of the parts that have not come yet."""

    name: str
    files: int
    placed: int
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every file is in its place."""
        return self.placed == self.files

    def __str__(self) -> str:
        state = "complete" if self.complete else f"missing {', '.join(self.missing)}"
        return f"{self.name}: {self.placed} of {self.files} files are in place; {state}"


def find_packs(folder: Path) -> list[Path]:
    """``folder`` itself, or the folders in it that have an index, by name.

    Raises:
        PackIndexError: there is none.
    """
    if (folder / INDEX).exists():
        return [folder]
    found = sorted(index.parent for index in folder.glob(f"*/{INDEX}"))
    if not found:
        raise PackIndexError(
            f"{folder}: there is no {INDEX}, here or one folder down; copy it with the parts."
        )
    return found


def join(folder: Path, target: Path) -> Progress:
    """Join the parts in ``folder`` that are new, and move the files that are complete to their places.

    Raises:
        DamagedError: a part or a file is not what the index says. What was right before is kept.
        PackIndexError: no index, or ``target`` holds the beginning of another pack of this name.
    """
    index = Index.read(folder)
    state = _State(index, target)
    for part in index.parts:
        if part.name not in state.parts and (folder / part.name).exists():
            _check(folder / part.name, part)
            _unpack(folder / part.name, part, state)
            state.keep(parts=state.parts | {part.name})
    _place(index, state)
    missing = tuple(part.name for part in index.parts if part.name not in state.parts)
    return Progress(index.name, len(index.files), len(state.files), missing)


class _State:
    """Which parts have been joined and which files are in their places: a JSON file in the target."""

    def __init__(self, index: Index, target: Path) -> None:
        self.target = target
        self._folder = target / f".joining-{index.name}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / "state.json"
        self._digest = index.digest
        self.parts: frozenset[str] = frozenset()
        self.files: frozenset[int] = frozenset()
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if kept["index"] != self._digest:
                raise PackIndexError(f"{self._folder}: belongs to another pack {index.name}; remove it.")
            self.parts, self.files = frozenset(kept["parts"]), frozenset(kept["files"])

    def unfinished(self, number: int) -> Path:
        """Where the bytes of a file are gathered."""
        return self._folder / str(number)

    def keep(self, parts: frozenset[str] | None = None, files: frozenset[int] | None = None) -> None:
        """Replace what is known, in one step."""
        self.parts = self.parts if parts is None else parts
        self.files = self.files if files is None else files
        content = {"index": self._digest, "parts": sorted(self.parts), "files": sorted(self.files)}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(content), encoding="utf-8")
        os.replace(fresh, self._file)


def _check(path: Path, part: Part) -> None:
    size = path.stat().st_size
    if size != part.size:
        raise DamagedError(f"{path}: has {size} bytes, the index says {part.size}; copy it again.")
    if digest_of(path) != part.sha256:
        raise DamagedError(f"{path}: its SHA-256 is not the index's; copy it again.")


def _unpack(path: Path, part: Part, state: _State) -> None:
    """Write each segment of a part to its offset in its file."""
    try:
        with lzma.open(path, "rb") as content:
            for segment in part.segments:
                with _open_at(state.unfinished(segment.file), segment.offset) as file:
                    left = segment.length
                    while left:
                        block = content.read(min(left, _BLOCK))
                        if not block:
                            raise DamagedError(f"{path}: ends before its last segment.")
                        file.write(block)
                        left -= len(block)
            if content.read(1):
                raise DamagedError(f"{path}: goes on after its last segment.")
    except (lzma.LZMAError, EOFError) as error:
        raise DamagedError(f"{path}: cannot be decompressed: {error}") from error


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
    file.seek(offset)
    return file


def _place(index: Index, state: _State) -> None:
    """Check the files whose parts have all come, and move them to their places."""
    for number in _ready(index, state):
        file, gathered = index.files[number], state.unfinished(number)
        place = state.target / file.path
        if not file.size:
            gathered.touch()
        if gathered.exists():
            if not _is(gathered, file):
                state.keep(parts=state.parts - index.parts_of(number))
                raise DamagedError(f"{file.path}: was not joined well; copy its parts again.")
            place.parent.mkdir(parents=True, exist_ok=True)
            gathered.chmod(0o755 if file.executable else 0o644)
            os.replace(gathered, place)
        elif not place.exists() or not _is(place, file):  # else it was moved before the state was kept
            state.keep(parts=state.parts - index.parts_of(number))
            raise DamagedError(f"{file.path}: is gone; copy its parts again.")
        state.keep(files=state.files | {number})


def _is(path: Path, file: PackedFile) -> bool:
    return path.stat().st_size == file.size and digest_of(path) == file.sha256


def _ready(index: Index, state: _State) -> Iterator[int]:
    """Files that are not in their places, and whose folder at the top has come as a whole.

    Half a package would hide another installation of it.
    """
    needed: dict[str, frozenset[str]] = {}
    for number, file in enumerate(index.files):
        top = _top(file)
        needed[top] = needed.get(top, frozenset()) | index.parts_of(number)
    for number, file in enumerate(index.files):
        if number not in state.files and needed[_top(file)] <= state.parts:
            yield number


def _top(file: PackedFile) -> str:
    return file.path.split("/")[0]


if __name__ == "__main__":
    main()
