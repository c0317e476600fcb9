"""The files of a corpus: find them, tell their formats, and notice when they change."""

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
from m3e_corpora.errors import UnreadableInputError
from m3e_runtime import git_lfs
from m3e_runtime.errors import OptionError
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
"""Characters that need no encoding in the path of a URI; see RFC 3986, section 3.3."""

_BUFFER = 1 << 20


class InputFile(msgspec.Struct, frozen=True):
    """A file as it was when the job began.

    Attributes:
        path: an absolute path, a URI, or ``-`` for standard input.
        format: one of :data:`FORMATS`.
        size: bytes; zero for standard input.
        modified: nanoseconds since 1970; zero for standard input.
    """

    path: str
    format: str
    size: int
    modified: int

    @property
    def name(self) -> str:
        """The name to show in messages."""
        return "standard input" if self.path == STANDARD_INPUT else shown(self.path)


def find_inputs(
    names: Sequence[str], asked: str | None, excluded: Sequence[Path] = ()
) -> tuple[InputFile, ...]:
    """Find the input files, in the order of ``names``. Files of a folder or pattern are sorted by name.

    Args:
        names: files, folders, patterns with ``*``, ``?`` or ``**``, URIs that pyarrow can open, or ``-``
            for standard input. Folders are searched recursively for files with a known suffix. Names that
            begin with ``.`` or ``_`` are skipped.
        asked: the format of all files. By default the suffix decides; an unknown suffix means text.
        excluded: files of the output. They are not inputs, even if they lie in a folder or match a pattern.

    Raises:
        UnreadableInputError: no file is found, or one cannot be read.
        OptionError: standard input is combined with other inputs.
        DependencyMissingError: an input is a URI, and pyarrow is not installed.
    """
    own = [path.absolute() for path in excluded]
    files = tuple(file for name in names for file in _find(name, asked, own))
    if len(files) > 1 and any(file.path == STANDARD_INPUT for file in files):
        raise OptionError("standard input (-) must be the only input.")
    return files


@contextmanager
def open_input(file: InputFile) -> Iterator[BinaryIO]:
    """Open an input for reading. Standard input stays open at the end of the block.

    Raises:
        UnreadableInputError: the file is missing, has changed since the job began, or cannot be read inside
            the block.
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
        raise UnreadableInputError(f"{shown(name)}: no file found that is {_wanted(asked)}.")
    yield from files


def _wanted(asked: str | None) -> str:
    return f"readable as {asked}" if asked else f"named {', '.join(f'*{suffix}' for suffix in _SUFFIXES)}"


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
    """Whether ``name`` is a URI, which pyarrow opens."""
    return "://" in name


def _find_remote(uri: str, asked: str | None) -> Iterator[InputFile]:
    system, path = _resolve(uri)
    base, mark, query = uri.partition("?")
    if path.strip("/"):
        base, path = base.rstrip("/"), path.rstrip("/")  # a slash at the end of a folder is optional
    root = _above(base, path)
    files = [
        InputFile(
            root + quote(each.path, _AS_IT_IS) + mark + query,
            _format(each.path, asked),
            each.size or 0,
            each.mtime_ns or 0,
        )
        for each in _list_remote(uri, system, path, asked)
    ]
    if not files:
        raise UnreadableInputError(f"{uri}: no file found that is {_wanted(asked)}.")
    yield from files


def _list_remote(uri: str, system: Any, path: str, asked: str | None) -> list[Any]:
    """The Arrow descriptions of the file at ``path``, or of the files below it, sorted by name."""
    fs = import_arrow(f"{uri}: a remote file", "fs")
    try:
        info = system.get_file_info(path)
        found = [info]
        if info.type == fs.FileType.Directory:
            found = system.get_file_info(fs.FileSelector(path, recursive=True))
        found.sort(key=lambda each: str(each.path))
    except (OSError, ValueError) as error:  # ValueError: a name is not UTF-8
        raise _unreadable(uri, error) from error
    return [
        each
        for each in found
        if each.type == fs.FileType.File and (each is info or _visible(each.path[len(path) :], asked))
    ]


def _above(uri: str, path: str) -> str:
    """The part of a URI before its path. Characters of the path may be percent-encoded in the URI."""
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
            f"{file.name}: the file has changed since the job began; start again with --force."
        )


def _unreadable(name: str, error: OSError | ValueError) -> UnreadableInputError:
    reason = getattr(error, "strerror", None) or error
    return UnreadableInputError(f"{shown(name)}: cannot be read ({reason}).")
