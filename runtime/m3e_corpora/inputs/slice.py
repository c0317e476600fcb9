"""Slices: byte or row ranges of input files."""

from __future__ import annotations

import msgspec

__all__ = ["Slice"]


class Slice(msgspec.Struct, frozen=True):
    """A range of one input file.

    Attributes:
        file: position of the file among the inputs of the job.
        start: first byte, or first row of a Parquet file.
        stop: end of the range, exclusive. None for a stream, whose length is not known.
        size: approximate bytes of text in the range.
    """

    file: int
    start: int
    stop: int | None
    size: int
