"""Partitions: slices of the input that are computed, recorded and resumed together."""

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
from m3e_corpora.outputs.payload import payload_builder, schema_to_text
from m3e_runtime.errors import OptionError

__all__ = ["Partition", "Partitioning", "partition_inputs", "read_partition"]


class Partition(msgspec.Struct, frozen=True):
    """Consecutive slices of the input.

    Attributes:
        number: counted from zero in the order of the input.
        slices: the slices.
    """

    number: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """Approximate bytes of text."""
        return sum(each.size for each in self.slices)


class Partitioning(msgspec.Struct, frozen=True):
    """How the inputs of a job are divided.

    Attributes:
        partitions: all partitions, in the order of the input.
        schema: Arrow schema of the payload, serialized as text; None unless the payload is typed columns.
    """

    partitions: tuple[Partition, ...]
    schema: str | None


def partition_inputs(job: Job, partition_bytes: int) -> Partitioning:
    """Divide the inputs into partitions of about ``partition_bytes`` bytes of text.

    Raises:
        OptionError: columns cannot be kept, or their types differ between files.
        UnreadableInputError: a file cannot be read, or lacks a column.
    """
    schema = _schema(job) if job.columns.form == "columns" else None
    slices = itertools.chain.from_iterable(
        format_of(file).slices(index, file, job.columns, partition_bytes)
        for index, file in enumerate(job.inputs)
    )
    return Partitioning(tuple(_join(slices, partition_bytes)), schema)


def read_partition(job: Job, schema: str | None, partition: Partition) -> Iterator[Rows]:
    """Read the rows of a partition.

    Args:
        job: the job.
        schema: see :class:`Partitioning`.
        partition: the partition.

    Raises:
        UnreadableInputError: an input cannot be read, or has changed.
    """
    builder = payload_builder(job.columns, schema)
    for slice_ in partition.slices:
        file = job.inputs[slice_.file]
        yield from format_of(file).read(file, slice_, job.columns, builder)


def _join(slices: Iterable[Slice], partition_bytes: int) -> Iterator[Partition]:
    """Join consecutive slices, so that many small files become few parts."""
    number, held, total = 0, list[Slice](), 0
    for each in slices:
        if held and total + each.size > partition_bytes:
            yield Partition(number, tuple(held))
            number, held, total = number + 1, [], 0
        held.append(each)
        total += each.size
    if held:
        yield Partition(number, tuple(held))


def _schema(job: Job) -> str:
    arrow = import_arrow("Parquet")
    columns = job.columns
    fields = [] if columns.drop_text else [arrow.field(columns.field, arrow.string())]
    if columns.kept:
        fields += _kept_fields(job.inputs, lambda file: format_of(file).fields(file, columns))
    return schema_to_text(arrow.schema(fields))


def _kept_fields(inputs: tuple[InputFile, ...], fields_of: Callable[[InputFile], list[Any]]) -> list[Any]:
    """The fields of the first file. The types in the other files must be equal."""
    first = fields_of(inputs[0])
    for file in inputs[1:]:
        if not format_of(file).declares_types:
            continue  # each row is checked when it is read
        for wanted, found in zip(first, fields_of(file), strict=False):
            if wanted.type != found.type:
                raise OptionError(
                    f"{file.name}: column {found.name!r} is {found.type}, but it is {wanted.type} in "
                    f"{inputs[0].name}; encode the files to separate outputs."
                )
    return first
