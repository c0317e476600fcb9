"""``python -m benchmarks.offline.pack``: cut wheels into xz files that can be copied one at a time.

Each part, the index and the files of this checkout together stay below the limit.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import lzma
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.offline.errors import OfflineError, PackError, SizeError
from benchmarks.offline.index import INDEX, Index, PackedFile, Part, Segment, is_safe

__all__ = ["DROPPED", "pack", "part_limit", "tree_bytes"]

MIB = 1 << 20
DROPPED = (
    "onnxruntime/capi/libonnxruntime_providers_tensorrt.so",  # needs TensorRT
    "onnxruntime/capi/libonnxruntime.so.*",  # for C; the Python module has it built in
)
"""Patterns of files of wheels that the benchmark does not use."""

_BLOCK = 256 << 10
_PENDING = 2 * MIB  # more than the compressor keeps back; a part may so become that much smaller
_MARGIN = MIB // 2  # for names and times of files, however they are copied
_INDEX_BYTES = MIB // 2
_DATA = re.compile(r"[^/]+\.data/(?P<kind>[^/]+)/(?P<rest>.+)")


def main() -> None:
    """Entry point."""
    options = _options()
    try:
        tree = tree_bytes(options.tree)
        limit = part_limit(options.limit, tree, options.part)
        _check_output(options.output, options.tree)
        index = pack(options.wheels, options.output, limit, options.drop, options.compression)
    except (OfflineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    print(_summary(index, tree, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.pack", description=__doc__)
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="a new folder; git must ignore it")
    parser.add_argument("--limit", type=float, default=64, help="MiB that can be copied at a time")
    parser.add_argument("--part", type=float, default=58, help="most MiB of a part")
    parser.add_argument("--tree", type=Path, default=Path(), help="the checkout that is copied each time")
    parser.add_argument("--drop", nargs="*", default=list(DROPPED), help="patterns of files to leave out")
    parser.add_argument("--compression", type=int, choices=range(10), default=9, help="xz's preset")
    return parser.parse_args()


def tree_bytes(tree: Path) -> int:
    """Bytes of the files that git tracks in ``tree``, and of those that it does not ignore.

    Raises:
        PackError: git cannot list them.
    """
    command = ["git", "-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError) as error:
        raise PackError(f"{tree}: git cannot list the files of the checkout: {error}") from error
    files = (tree / name for name in listed.split("\0") if name)
    return sum(file.stat().st_size for file in files if file.is_file())


def part_limit(limit: float, tree: int, most: float) -> int:
    """Bytes that a part may have where ``limit`` MiB are copied, ``tree`` bytes of them the checkout's.

    Raises:
        SizeError: next to nothing is left.
    """
    left = min(int(limit * MIB) - tree - _INDEX_BYTES - _MARGIN, int(most * MIB))
    if left < 2 * _PENDING:
        raise SizeError(
            f"{limit:g} MiB can be copied, and the checkout has {tree / MIB:.1f}: no part fits beside it."
        )
    return left


def pack(
    wheels: Sequence[Path],
    output: Path,
    limit: int,
    drop: Sequence[str] = DROPPED,
    compression: int = 9,
) -> Index:
    """Write the parts of ``wheels``, in their order, and the index into ``output``, an empty or a new folder.

    Args:
        wheels: whose files are unpacked side by side.
        output: its name becomes the name of the pack.
        limit: most bytes of a part.
        drop: patterns of paths to leave out.
        compression: xz's preset.

    Raises:
        PackError: ``output`` is not empty, or a file is not a wheel, or two wheels have the same file.
        SizeError: a part became larger than ``limit``.
    """
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise PackError(f"{output}: is not empty; name a new folder.")
    cutter = _Cutter(output, limit, compression)
    files: dict[str, PackedFile] = {}
    for entry in _entries(wheels, drop):
        if entry.path in files:
            raise PackError(f"{entry.wheel}: {entry.path} is in another wheel too.")
        with entry.open() as content:
            size, digest = cutter.add(len(files), content)
        files[entry.path] = PackedFile(entry.path, size, digest, entry.executable)
    index = Index(output.resolve().name, tuple(files.values()), tuple(cutter.finish()))
    index.write(output)
    if (size := (output / INDEX).stat().st_size) > _INDEX_BYTES:
        raise SizeError(f"{output / INDEX}: has {size} bytes, more than the {_INDEX_BYTES} kept for it.")
    return index


@dataclass(frozen=True)
class _Entry:
    wheel: Path
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: str

    @property
    def executable(self) -> bool:
        return bool(self.info.external_attr >> 16 & 0o100)

    def open(self) -> BinaryIO:
        return self.archive.open(self.info)  # type: ignore[return-value]


def _entries(wheels: Sequence[Path], drop: Sequence[str]) -> Iterator[_Entry]:
    for wheel in wheels:
        try:
            archive = zipfile.ZipFile(wheel)
        except (zipfile.BadZipFile, FileNotFoundError) as error:
            raise PackError(f"{wheel}: is not a wheel: {error}") from error
        with archive:
            for info in archive.infolist():
                path = _installed(info.filename)
                if info.is_dir() or path is None or any(fnmatch.fnmatch(path, each) for each in drop):
                    continue
                if not is_safe(path):
                    raise PackError(f"{wheel}: {path!r} leads out of the folder.")
                yield _Entry(wheel, archive, info, path)


def _installed(name: str) -> str | None:
    """Where an installer puts a wheel's file; None for scripts and headers, which nobody imports."""
    found = _DATA.fullmatch(name)
    if found is None:
        return name
    return found["rest"] if found["kind"] in ("purelib", "platlib") else None


class _Cutter:
    """Compresses files one after the other and begins a new part before the limit is reached."""

    def __init__(self, folder: Path, limit: int, compression: int) -> None:
        self._folder, self._limit, self._preset = folder, limit, compression
        self._parts: list[Part] = []
        self._begin()

    def add(self, number: int, content: BinaryIO) -> tuple[int, str]:
        """Take a file; its size and SHA-256 are returned."""
        hashed, size = hashlib.sha256(), 0
        while block := content.read(_BLOCK):
            if self._written > self._limit - _PENDING:
                self._end()
                self._begin()
            hashed.update(block)
            self._put(self._compressor.compress(block))
            self._note(number, size, len(block))
            size += len(block)
        return size, hashed.hexdigest()

    def finish(self) -> list[Part]:
        """End the last part."""
        if self._segments:
            self._end()
        else:
            self._file.close()
            self._path.unlink()
        return self._parts

    def _begin(self) -> None:
        self._path = self._folder / f"{len(self._parts):02}.xz"
        self._file = self._path.open("wb")
        self._compressor = lzma.LZMACompressor(preset=self._preset)
        self._hash, self._written = hashlib.sha256(), 0
        self._segments: list[Segment] = []

    def _end(self) -> None:
        self._put(self._compressor.flush())
        self._file.close()
        if self._written > self._limit:
            raise SizeError(f"{self._path}: has {self._written} bytes, more than {self._limit}.")
        self._parts.append(
            Part(self._path.name, self._written, self._hash.hexdigest(), tuple(self._segments))
        )

    def _put(self, compressed: bytes) -> None:
        self._file.write(compressed)
        self._hash.update(compressed)
        self._written += len(compressed)

    def _note(self, number: int, offset: int, length: int) -> None:
        last = self._segments[-1] if self._segments else None
        if last is not None and last.file == number:
            self._segments[-1] = Segment(number, last.offset, last.length + length)
        else:
            self._segments.append(Segment(number, offset, length))


def _check_output(output: Path, tree: Path) -> None:
    """Parts that git does not ignore would be copied with every command, all of them."""
    if not output.resolve().is_relative_to(tree.resolve()):
        return
    command = ["git", "-C", str(tree), "check-ignore", "-q", str(output.resolve() / INDEX)]
    if subprocess.run(command).returncode:
        raise PackError(f"{output}: git does not ignore it; name a folder in .offline/.")


def _summary(index: Index, tree: int, options: argparse.Namespace) -> str:
    whole = sum(file.size for file in index.files)
    lines = [f"{len(index.files)} files of {whole / MIB:.1f} MiB in {len(index.parts)} parts:"]
    lines += [
        f"  {part.name}  {part.size / MIB:5.1f} MiB, with the checkout {(part.size + tree) / MIB:5.1f} "
        f"of {options.limit:g}"
        for part in index.parts
    ]
    return "\n".join([*lines, f"Copy each with {options.output / INDEX}: {len(index.parts)} commands."])


if __name__ == "__main__":
    main()
