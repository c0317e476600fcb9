"""Pieces of files, and partitions: what is computed, written and recorded as one."""

from __future__ import annotations

import msgspec

__all__ = ["Slice"]


class Slice(msgspec.Struct, frozen=True):
    """A piece of the input file of number ``file``.

    ``start`` and ``stop`` are bytes, or rows of a Parquet file; a ``stop`` of None is the end of a stream
    whose length nobody knows. ``size`` is about how many bytes of text it has.
    """

    file: int
    start: int
    stop: int | None
    size: int
