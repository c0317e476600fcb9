"""Partitions are read, computed and written as parts, in the same way on one machine and on many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import numpy.typing as npt

from m3e_corpora.encoding.chunk_rows import RowChunker
from m3e_corpora.encoding.pipeline import compute, prefetched
from m3e_corpora.encoding.tokens import Model
from m3e_corpora.encoding.window import Window
from m3e_corpora.encoding.windows import windows_of
from m3e_corpora.inputs.find import STANDARD_INPUT
from m3e_corpora.inputs.rows import BadRow, Rows
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.job import Job, provenance
from m3e_corpora.job.partition import Partition, read_partition
from m3e_corpora.job.policies import OnError
from m3e_corpora.outputs.others import NO_OTHERS, Others
from m3e_corpora.outputs.payload import schema_from_text, schema_to_text, with_chunk_fields
from m3e_corpora.outputs.sinks import Sink, make_sink
from m3e_runtime.encoder import Encoder

__all__ = ["encoded_windows", "run_partitions", "write_window"]

MULTI_VECTOR_WINDOW_TOKENS = 1 << 14
"""Tokens of a window whose vectors of tokens are held: 64 MB at 1024 dimensions."""


def run_partitions(
    encoder: Model,
    workers: int,
    folder: JobFolder,
    partitions: Iterable[Partition],
    on_error: OnError,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Iterator[PartRecord]:
    """Compute partitions one after the other; the pipeline does not drain between them.

    Args:
        encoder: runs the artifact of the job.
        workers: threads that run the engine.
        folder: folder of the job.
        partitions: the partitions to compute.
        on_error: what to do with bad rows.
        on_window: called when the rows of a window are written.

    Yields:
        The record of each finished partition, which is on disk by then.

    Raises:
        InvalidTextError: there is a bad row, and ``on_error`` is ``fail``.
        UnreadableInputError: an input cannot be read, or has changed.
        OutputError: a part cannot be written.
    """
    part: _Part | None = None
    with ExitStack() as stack:
        for window, vectors, others in encoded_windows(
            encoder, workers, folder.job, folder.partitioning.schema, partitions, on_error
        ):
            part = part or _Part(folder, window.partition, stack)
            part.write(window, vectors, others)
            on_window(window)
            if window.last:
                stack.close()
                yield folder.record(window.partition, part.counts, part.bad)
                part = None


def encoded_windows(
    encoder: Model,
    workers: int,
    job: Job,
    schema: str | None,
    partitions: Iterable[Partition],
    on_error: OnError,
) -> Iterator[tuple[Window, npt.NDArray[Any], Others]]:
    """Yield the windows of partitions with the vectors, ``[rows, length]``, and others of their rows."""
    windows: Iterator[Window] = itertools.chain.from_iterable(
        windows_of(
            encoder,
            each.number,
            _rows(encoder, job, schema, each),
            job.prompt,
            job.over_long,
            on_error,
            MULTI_VECTOR_WINDOW_TOKENS if "multi_vector" in job.vectors.others else None,
            late=job.chunking is not None and job.chunking.late,
            task=job.task,
        )
        for each in partitions
    )
    with ExitStack() as stack:
        # A thread that waits for standard input cannot be stopped.
        if job.inputs[0].path != STANDARD_INPUT:
            windows = stack.enter_context(closing(prefetched(windows)))
        for window, distinct, others in compute(
            encoder, windows, workers, job.batch_size, job.vectors.others, job.task
        ):
            yield window, job.vectors.finish(distinct)[window.places], others.take(window.places)


def _rows(encoder: Model, job: Job, schema: str | None, partition: Partition) -> Iterator[Rows]:
    rows = read_partition(job, schema, partition)
    if job.chunking is None or not isinstance(encoder, Encoder):
        return rows
    return itertools.chain.from_iterable(map(RowChunker(encoder, job).divide, rows))


def write_window(sink: Sink, window: Window, vectors: npt.NDArray[Any], others: Others = NO_OTHERS) -> None:
    """Write the rows of a window with their vectors and other outputs."""
    start = 0
    for rows in window.rows:
        stop = start + len(rows.texts)
        sink.write(rows.payload, vectors[start:stop], others.part(start, stop))
        start = stop


def _stored_schema(folder: JobFolder) -> str | None:
    """The schema of what is stored beside vectors: that of the payload, with the places of chunks."""
    schema = folder.partitioning.schema
    if schema is None or folder.job.chunking is None:
        return schema
    return schema_to_text(with_chunk_fields(schema_from_text(schema)))


class _Part:
    """A part that is being written. Closing ``stack`` puts it in place."""

    def __init__(self, folder: JobFolder, number: int, stack: ExitStack) -> None:
        job = folder.job
        stream = stack.enter_context(folder.new_part(number))
        self._sink = make_sink(job.part_format, stream, job.vectors, _stored_schema(folder), provenance(job))
        stack.push(self._abandon)
        self.counts = Counts()
        self.bad: list[BadRow] = []

    def write(self, window: Window, vectors: npt.NDArray[Any], others: Others) -> None:
        write_window(self._sink, window, vectors, others)
        self.counts += window.counts
        self.bad += window.bad
        if window.last:
            self._sink.close()

    def _abandon(self, kind: type[BaseException] | None, *error: object) -> None:
        """Close the sink after an error. pyarrow would otherwise do it later and complain."""
        if kind is not None:
            with suppress(Exception):
                self._sink.close()
