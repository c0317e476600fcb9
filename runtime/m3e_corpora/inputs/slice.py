"""Pieces of files, and partitions: what is computed, written and recorded as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

__all__ = ["Partition", "Slice", "into_partitions"]


class Slice(msgspec.Struct, frozen=True):
    """A piece of the input file of number ``file``.

    ``start`` and ``stop`` are bytes, or rows of a Parquet file; a ``stop`` of None is the end of a stream
    whose length nobody knows. ``size`` is about how many bytes of text it has.
    """

    file: int
    start: int
    stop: int | None
    size: int


class Partition(msgspec.Struct, frozen=True):
    """Slices that follow each other in the input; ``number`` counts from zero in the order of the input."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """About how many bytes of text it has."""
        return sum(each.size for each in self.slices)


def into_partitions(slices: Iterable[Slice], target: int) -> Iterator[Partition]:
    """Join slices, in order, to partitions of about ``target`` bytes: many small files become few parts."""
    number, held, total = 0, list[Slice](), 0
    for each in slices:
        if held and total + each.size > target:
            yield Partition(number, tuple(held))
            number, held, total = number + 1, [], 0
        held.append(each)
        total += each.size
    if held:
        yield Partition(number, tuple(held))
