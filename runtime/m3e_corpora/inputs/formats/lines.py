"""Lines of a byte range: a line belongs to the range in which it begins, so ranges need no look at it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from m3e_corpora.inputs.encodings import byte_order_mark
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile, open_input
from m3e_corpora.inputs.rows import ROW_LIMIT, BadRow
from m3e_corpora.inputs.slice import Slice

__all__ = ["TOO_LONG", "LineNumbers", "RawLine", "byte_slices", "read_lines", "undecodable"]

TOO_LONG = f"longer than {ROW_LIMIT >> 20} MiB."

_BLOCK = 1 << 20


@dataclass(slots=True)
class RawLine:
    """A line as it is in the file, with its end; ``data`` is None where it is longer than ROW_LIMIT.

    ``number`` counts from 1 at the start of the slice, ``end`` is the byte of the file after the line.
    """

    number: int
    data: bytes | None
    end: int

    @property
    def content(self) -> bytes | None:
        """The line without its end, LF or CRLF; bytes.splitlines would also cut inside a text."""
        return self.data and self.data.removesuffix(b"\n").removesuffix(b"\r")


@dataclass
class LineNumbers:
    """Turns a line's number in a slice into its number in the file, which only an error message needs."""

    file: InputFile
    start: int
    _before: int | None = field(default=None, init=False)

    def locate(self, number: int, problem: str) -> BadRow:
        """Name a line that is bad."""
        if self._before is None:
            self._before = _count_lines(self.file, self.start)
        return BadRow(self.file.name, f"line {self._before + number}", problem)


def byte_slices(index: int, file: InputFile, target: int) -> Iterator[Slice]:
    """Equal ranges of at most ``target`` bytes; one without an end for standard input."""
    if file.path == STANDARD_INPUT:
        yield Slice(index, 0, None, 0)
        return
    count = max(1, math.ceil(file.size / target))
    bounds = [file.size * number // count for number in range(count + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield Slice(index, start, stop, stop - start)


def read_lines(stream: BinaryIO, piece: Slice, encoding: str) -> Iterator[RawLine]:
    """The lines that begin in ``piece``; only LF ends a line, in every encoding that is taken."""
    at = _first_line(stream, piece.start)
    number = 0
    while piece.stop is None or at < piece.stop:
        line = stream.readline(ROW_LIMIT + 1)
        if not line:
            return
        at += len(line)
        data: bytes | None = line
        if len(line) > ROW_LIMIT and not line.endswith(b"\n"):
            at, data = at + _skip_line(stream), None
        elif at == len(line):
            data = line.removeprefix(byte_order_mark(encoding))
            if not data:
                return
        number += 1
        yield RawLine(number, data, at)


def undecodable(error: UnicodeDecodeError, encoding: str) -> str:
    """What to say of a line that cannot be decoded."""
    return (
        f"not {encoding.upper()} ({error.reason} at byte {error.start + 1} of the line); "
        "name the encoding of the file, e.g. with --encoding gb18030."
    )


def _first_line(stream: BinaryIO, start: int) -> int:
    """Go to the first line that begins at ``start`` or later; return where it is."""
    if not start:
        return 0
    stream.seek(start - 1)
    return start - 1 + _skip_line(stream)


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line; return how many bytes that were."""
    skipped = 0
    while line := stream.readline(_BLOCK):
        skipped += len(line)
        if line.endswith(b"\n"):
            break
    return skipped


def _count_lines(file: InputFile, start: int) -> int:
    """Line ends before the first line that begins at byte ``start`` or later."""
    if not start:
        return 0
    lines = 0
    with open_input(file) as stream:
        start = _first_line(stream, start)
        stream.seek(0)
        while start and (block := stream.read(min(_BLOCK, start))):
            lines += block.count(b"\n")
            start -= len(block)
    return lines
