"""Partitions of a job: what is computed, written and recorded as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from m3e_corpora.arrow import import_arrow
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.formats import format_of
from m3e_corpora.inputs.rows import Rows
from m3e_corpora.inputs.slice import Slice
from m3e_corpora.job.job import Job
from m3e_corpora.outputs.payload import make_beside, pack_schema
from m3e_runtime.errors import OptionError

__all__ = ["Partition", "Plan", "into_partitions", "make_plan", "read_partition"]


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


class Plan(msgspec.Struct, frozen=True):
    """The partitions of a job, and the Arrow schema of what is stored beside the vectors, packed."""

    partitions: tuple[Partition, ...]
    schema: str | None


def make_plan(job: Job, target: int) -> Plan:
    """Cut the inputs into partitions of about ``target`` bytes of text.

    Raises:
        OptionError: columns cannot be kept, or have other types in other files.
        UnreadableInputError: a file cannot be read, or has no such column.
    """
    schema = _schema(job) if job.reading.form == "columns" else None
    slices = itertools.chain.from_iterable(
        format_of(file).slices(index, file, job.reading, target) for index, file in enumerate(job.inputs)
    )
    return Plan(tuple(into_partitions(slices, target)), schema)


def read_partition(job: Job, plan: Plan, partition: Partition) -> Iterator[Rows]:
    """The rows of a partition.

    Raises:
        UnreadableInputError: an input cannot be read, or has changed.
    """
    beside = make_beside(job.reading, plan.schema)
    for piece in partition.slices:
        file = job.inputs[piece.file]
        yield from format_of(file).read(file, piece, job.reading, beside)


def _schema(job: Job) -> str:
    arrow = import_arrow("Parquet")
    reading = job.reading
    fields = [] if reading.drop_text else [arrow.field(reading.field, arrow.string())]
    if reading.columns:
        fields += _kept_fields(job.inputs, lambda file: format_of(file).fields(file, reading))
    return pack_schema(arrow.schema(fields))


def _kept_fields(inputs: tuple[InputFile, ...], fields_of: Callable[[InputFile], list[Any]]) -> list[Any]:
    """The fields of the first file, with which the others have to agree."""
    first = fields_of(inputs[0])
    for file in inputs[1:]:
        if not format_of(file).declares_types:
            continue  # each row is looked at when it is read
        for wanted, found in zip(first, fields_of(file), strict=False):
            if wanted.type != found.type:
                raise OptionError(
                    f"{file.name}: column {found.name!r} is {found.type}, and {wanted.type} in "
                    f"{inputs[0].name}; encode them to outputs of their own."
                )
    return first
