"""The files of a corpus: found, told apart by format, and recognized when a job goes on."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import msgspec

from m3e_corpora.arrow import import_arrow
from m3e_runtime import git_lfs
from m3e_runtime.errors import OptionError, UnreadableInputError
from m3e_runtime.file_names import shown

__all__ = ["FORMATS", "STANDARD_INPUT", "InputFile", "find_inputs", "is_uri", "open_input"]

STANDARD_INPUT = "-"

FORMATS = ("text", "jsonl", "csv", "tsv", "parquet")
_SUFFIXES = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_AS_IT_IS = "/!$&'()*+,;=:@~"
"""What may be in the path of a URI; see RFC 3986, section 3.3."""

_BUFFER = 1 << 20


class InputFile(msgspec.Struct, frozen=True):
    """A file as it was when the job began; ``path`` is absolute, a URI, or ``-``.

    ``size`` is in bytes, ``modified`` in nanoseconds since 1970; both are zero for standard input.
    """

    path: str
    format: str
    size: int
    modified: int

    @property
    def name(self) -> str:
        """For messages."""
        return "standard input" if self.path == STANDARD_INPUT else shown(self.path)


def find_inputs(
    names: Sequence[str], asked: str | None, excluded: Sequence[Path] = ()
) -> tuple[InputFile, ...]:
    """The files that ``names`` stand for, in the order given, those of a folder or pattern by name.

    Args:
        names: files, folders (searched to the bottom for files with a known suffix; names that begin with
            ``.`` or ``_`` are passed over), patterns with ``*``, ``?`` or ``**``, URIs that pyarrow can open,
            or ``-`` alone for standard input.
        asked: the format of all files; by default the suffix tells, and a file without a known one is text.
        excluded: the output, which is not an input of its own where it lies in a folder or fits a pattern.

    Raises:
        UnreadableInputError: nothing there, or it cannot be read.
        OptionError: standard input beside others.
        EngineMissingError: a URI, and pyarrow is not installed.
    """
    own = [path.absolute() for path in excluded]
    files = tuple(file for name in names for file in _find(name, asked, own))
    if len(files) > 1 and any(file.path == STANDARD_INPUT for file in files):
        raise OptionError("standard input (-) cannot be one of several inputs.")
    return files


@contextmanager
def open_input(file: InputFile) -> Iterator[BinaryIO]:
    """Open for reading; standard input stays open at the end of the block.

    Raises:
        UnreadableInputError: missing, changed since the job began, or reading fails inside the block.
    """
    try:
        if file.path == STANDARD_INPUT:
            yield sys.stdin.buffer
        else:
            with _open_remote(file) if is_uri(file.path) else _open_local(file) as stream:
                yield stream
    except OSError as error:
        raise _unreadable(file.name, error) from error


def _find(name: str, asked: str | None, own: list[Path]) -> Iterator[InputFile]:
    if name == STANDARD_INPUT:
        yield InputFile(name, asked or "text", 0, 0)
    elif is_uri(name):
        yield from _find_remote(name, asked)
    elif os.path.isdir(name):
        yield from _some(name, asked, own, _in_folder(Path(name), asked))
    elif glob.has_magic(name) and not os.path.lexists(name):
        matches = sorted(glob.glob(name, recursive=True))
        yield from _some(name, asked, own, (match for match in matches if os.path.isfile(match)))
    else:
        yield _describe(name, asked)


def _in_folder(folder: Path, asked: str | None) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if _visible(path.relative_to(folder).as_posix(), asked) and path.is_file():
            yield str(path)


def _some(name: str, asked: str | None, own: list[Path], found: Iterable[str]) -> Iterator[InputFile]:
    files = [
        _describe(each, asked)
        for each in found
        if not any(Path(each).absolute().is_relative_to(path) for path in own)
    ]
    if not files:
        raise UnreadableInputError(f"{shown(name)}: no file there that is {_wanted(asked)}.")
    yield from files


def _wanted(asked: str | None) -> str:
    return f"to be read as {asked}" if asked else f"named {', '.join(f'*{suffix}' for suffix in _SUFFIXES)}"


def _describe(name: str, asked: str | None) -> InputFile:
    try:
        status = os.stat(name)
    except OSError as error:
        raise _unreadable(name, error) from error
    if git_lfs.is_pointer(Path(name)):
        raise UnreadableInputError(f"{shown(name)}: {git_lfs.HINT}.")
    return InputFile(os.path.abspath(name), _format(name, asked), status.st_size, status.st_mtime_ns)


def _format(name: str, asked: str | None) -> str:
    return asked or _SUFFIXES.get(Path(name).suffix.lower(), "text")


def _open_local(file: InputFile) -> BinaryIO:
    stream = open(file.path, "rb", buffering=_BUFFER)  # noqa: SIM115 - the caller closes it
    status = os.fstat(stream.fileno())
    _check_unchanged(file, status.st_size, status.st_mtime_ns)
    return stream


def is_uri(name: str) -> bool:
    """Whether ``name`` is for pyarrow to open."""
    return "://" in name


def _find_remote(uri: str, asked: str | None) -> Iterator[InputFile]:
    system, path = _resolve(uri)
    fs = import_arrow(f"{uri}: a remote file", "fs")
    base, mark, query = uri.partition("?")
    if path.strip("/"):
        base, path = base.rstrip("/"), path.rstrip("/")  # a folder may be given with a slash at its end
    root = _above(base, path)
    try:
        info = system.get_file_info(path)
        below = [info]
        if info.type == fs.FileType.Directory:
            below = system.get_file_info(fs.FileSelector(path, recursive=True))
        below.sort(key=lambda each: str(each.path))
    except (OSError, ValueError) as error:  # a ValueError: a name that is not UTF-8
        raise _unreadable(uri, error) from error
    files = [
        InputFile(
            root + quote(each.path, _AS_IT_IS) + mark + query,
            _format(each.path, asked),
            each.size or 0,
            each.mtime_ns or 0,
        )
        for each in below
        if each.type == fs.FileType.File and (each is info or _visible(each.path[len(path) :], asked))
    ]
    if not files:
        raise UnreadableInputError(f"{uri}: no file there that is {_wanted(asked)}.")
    yield from files


def _above(uri: str, path: str) -> str:
    """What is before the path in a URI, in which characters of the path may be encoded."""
    found = (uri[:at] for at in range(len(uri)) if unquote(uri[at:]) == path)
    return next(found, uri.removesuffix(path))


def _visible(path: str, asked: str | None) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.split("/"))
    return not hidden and bool(asked or Path(path).suffix.lower() in _SUFFIXES)


def _open_remote(file: InputFile) -> BinaryIO:
    system, path = _resolve(file.path)
    info = system.get_file_info(path)
    _check_unchanged(file, info.size or 0, info.mtime_ns or 0)
    return io.BufferedReader(system.open_input_file(path), _BUFFER)


def _resolve(uri: str) -> tuple[Any, str]:
    fs = import_arrow(f"{uri}: a remote file", "fs")
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise _unreadable(uri, error) from error
    return system, path


def _check_unchanged(file: InputFile, size: int, modified: int) -> None:
    if (size, modified) != (file.size, file.modified):
        raise UnreadableInputError(
            f"{file.name}: has changed since the job began; begin it anew with --force."
        )


def _unreadable(name: str, error: OSError | ValueError) -> UnreadableInputError:
    reason = getattr(error, "strerror", None) or error
    return UnreadableInputError(f"{shown(name)}: cannot be read ({reason}).")
