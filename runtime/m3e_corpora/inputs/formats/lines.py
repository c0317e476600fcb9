"""The lines of a byte range.

A line belongs to the range in which it begins. So a file can be cut anywhere without being read.
"""

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
    """A line as it is in the file.

    Attributes:
        number: counted from 1 at the start of the slice.
        data: the bytes of the line with its end; None if they are more than :data:`ROW_LIMIT`.
        end: byte of the file after the line.
    """

    number: int
    data: bytes | None
    end: int

    @property
    def content(self) -> bytes | None:
        """The line without its end, LF or CRLF. bytes.splitlines would also split at other characters."""
        return self.data and self.data.removesuffix(b"\n").removesuffix(b"\r")


@dataclass
class LineNumbers:
    """Converts line numbers of a slice to those of the file. Only error messages need them."""

    file: InputFile
    start: int
    _before: int | None = field(default=None, init=False)

    def locate(self, number: int, problem: str) -> BadRow:
        """Make a bad row from a line."""
        if self._before is None:
            self._before = _count_lines(self.file, self.start)
        return BadRow(self.file.name, f"line {self._before + number}", problem)


def byte_slices(index: int, file: InputFile, slice_bytes: int) -> Iterator[Slice]:
    """Cut a file into equal ranges of at most ``slice_bytes``; standard input is one range without an end."""
    if file.path == STANDARD_INPUT:
        yield Slice(index, 0, None, 0)
        return
    count = max(1, math.ceil(file.size / slice_bytes))
    bounds = [file.size * number // count for number in range(count + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield Slice(index, start, stop, stop - start)


def read_lines(stream: BinaryIO, slice_: Slice, encoding: str) -> Iterator[RawLine]:
    """Read the lines that begin in ``slice_``. Only LF ends a line, in every supported encoding."""
    at = _first_line(stream, slice_.start)
    number = 0
    while slice_.stop is None or at < slice_.stop:
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
    """Describe a line that cannot be decoded."""
    return (
        f"not {encoding.upper()} ({error.reason} at byte {error.start + 1} of the line); "
        "name the encoding of the file, for example with --encoding gb18030."
    )


def _first_line(stream: BinaryIO, start: int) -> int:
    """Seek to the first line that begins at ``start`` or later; return its position."""
    if not start:
        return 0
    stream.seek(start - 1)
    return start - 1 + _skip_line(stream)


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line; return the number of bytes."""
    skipped = 0
    while line := stream.readline(_BLOCK):
        skipped += len(line)
        if line.endswith(b"\n"):
            break
    return skipped


def _count_lines(file: InputFile, start: int) -> int:
    """Count the line ends before the first line that begins at byte ``start`` or later."""
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
