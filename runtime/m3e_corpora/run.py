"""Encoding of a corpus, from the request to the finished output."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import m3e_runtime
from m3e_corpora.encoding.partitions import encoded_windows, write_window
from m3e_corpora.encoding.progress import Progress
from m3e_corpora.errors import ResumeError
from m3e_corpora.executors.base import Executor
from m3e_corpora.executors.faiss_index import check_index, write_index
from m3e_corpora.executors.local import LocalExecutor
from m3e_corpora.executors.merge import merge
from m3e_corpora.inputs.find import InputFile, find_inputs
from m3e_corpora.inputs.rows import BadRow
from m3e_corpora.job.folder import JobFolder, PartRecord, forget_job, lock_folder, remove_job, remove_unbegun
from m3e_corpora.job.job import Job, provenance
from m3e_corpora.job.output_path import OutputPath
from m3e_corpora.job.partition import partition_inputs
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.summary import Summary, summarize
from m3e_corpora.outputs.sinks import make_sink
from m3e_runtime.bundle import Bundle
from m3e_runtime.chunking import ChunkOptions
from m3e_runtime.errors import BundleError, OptionError, OutputError
from m3e_runtime.standard_output import discard

__all__ = ["encode_corpus"]

logger = logging.getLogger(__name__)

_BAD_ROWS_LOGGED = 10


def encode_corpus(
    request: CorpusRequest, executor: Callable[[CorpusRequest], Executor] = LocalExecutor
) -> Summary:
    """Encode a corpus of any size in bounded memory.

    Partitions are written as parts, each complete or absent. If a run stops early, finished partitions are
    kept, and ``request.resume`` continues with the others. If none is finished, nothing is left.

    Args:
        request: what to encode.
        executor: makes the executor that computes; by default it computes in this process.

    Raises:
        OptionError: options cannot be used, or the output exists.
        ResumeError: the unfinished job is a different one, or another process is writing it.
        InvalidTextError: a row cannot be encoded, and such rows are not skipped.
        UnreadableInputError: an input is missing or damaged, or lacks a column.
        DependencyMissingError: a package that is needed is not installed.
        M3EError: the output cannot be written, or the bundle cannot be loaded.
    """
    request = _for_bundle(request)
    output = request.check()
    inputs = find_inputs(request.inputs, request.format, output.files)
    _check_fields(request, inputs)
    with contextlib.closing(executor(request)) as computing:
        job = _make_job(request, output, inputs, computing)
        if output.kind == "stream":
            return _stream(request, job, computing)
        if output.suffix == ".faiss":
            check_index(job, request.index)
        with _job_folder(request, output, job) as folder:
            return _run(request, output, folder, computing)


def _for_bundle(request: CorpusRequest) -> CorpusRequest:
    """The request, completed for the kind of its bundle, which may lie on other machines only."""
    try:
        bundle = Bundle.open(request.bundle)
    except BundleError:  # whoever loads it tells
        return request
    return request.for_model(bundle.manifest.classification)


def _check_fields(request: CorpusRequest, inputs: tuple[InputFile, ...]) -> None:
    columns = {
        "--field": request.field,
        "--prompt-field": request.prompt_field,
        "--query-field": request.query_field,
    }
    for option, given in columns.items():
        if given is not None and all(file.format == "text" for file in inputs):
            raise OptionError(f"{option} names a column, but the input is read as text; add --format jsonl.")
    if request.encoding is not None and all(file.format == "parquet" for file in inputs):
        raise OptionError("--encoding is for text, CSV and JSON Lines; texts in Parquet are always UTF-8.")


def _make_job(
    request: CorpusRequest, output: OutputPath, inputs: tuple[InputFile, ...], executor: Executor
) -> Job:
    bundle, vectors, prompt, task = executor.describe()
    return Job(
        runtime=m3e_runtime.__version__,
        bundle=bundle,
        inputs=inputs,
        columns=request.columns(output.part_format, inputs),
        vectors=vectors,
        prompt=prompt,
        task=task,
        over_long=request.over_long,
        batch_size=request.batch_size,
        part_format=output.part_format,
        chunking=request.chunking or ChunkOptions() if request.over_long == "chunk" else None,
    )


@contextmanager
def _job_folder(request: CorpusRequest, output: OutputPath, job: Job) -> Iterator[JobFolder]:
    """Begin or resume the job. If it stops before a partition is finished, nothing is left."""
    existed = output.parts.exists()
    try:
        with lock_folder(output.parts):
            try:
                yield _begin(request, output.parts, job)
            except ResumeError:
                raise
            except BaseException as error:
                kept = _remove_unless_begun(output.parts, existed)
                if kept and not isinstance(error, KeyboardInterrupt):
                    logger.warning("%s.", kept)
                error.add_note(kept or "nothing is kept to resume")
                raise
    except KeyboardInterrupt:
        if not existed:
            remove_unbegun(output.parts)
        raise


def _begin(request: CorpusRequest, path: Path, job: Job) -> JobFolder:
    if request.force:
        forget_job(path)
    if not JobFolder.exists(path):
        return JobFolder.begin(path, job, partition_inputs(job, request.partition_bytes))
    folder = JobFolder.open(path)
    folder.check_same(job)
    folder.clean()
    return folder


def _remove_unless_begun(path: Path, existed: bool) -> str | None:
    """Remove a job without finished partitions. For another say what is kept and how to continue."""
    if JobFolder.exists(path) and (done := len(JobFolder.open(path).done())):
        return f"{done} partitions are kept in {path}; the same command with --resume continues"
    _remove(path, keep_folder=existed)
    return None


def _remove(path: Path, keep_folder: bool) -> None:
    remove_job(path)
    if not keep_folder:
        with contextlib.suppress(OSError):  # it contains files of others
            path.rmdir()


def _run(request: CorpusRequest, output: OutputPath, folder: JobFolder, executor: Executor) -> Summary:
    counts = {number: record.counts for number, record in folder.done().items()}
    resumed = len(counts)
    partitions = folder.partitioning.partitions
    bad_rows = _BadRowLog(_BAD_ROWS_LOGGED)

    def done(record: PartRecord) -> None:
        counts[record.partition] = record.counts
        bad_rows.add(record.bad)

    before = sum(each.size for each in partitions if each.number in counts)
    total = sum(each.size for each in partitions)
    with Progress(total, before, request.show_progress) as progress:
        executor.run(folder, [each for each in partitions if each.number not in counts], progress.add, done)
        seconds = progress.seconds
    _finish(request, output, folder, sum(each.texts for each in counts.values()))
    return summarize(request.output, folder.job, counts.values(), progress.counts, seconds, resumed)


def _finish(request: CorpusRequest, output: OutputPath, folder: JobFolder, rows: int) -> None:
    if output.kind == "folder":
        folder.clean()  # temporary files of workers that died
        folder.write_rejected(folder.rejected)
        folder.complete()
        return
    folder.write_rejected(output.rejected)
    parts = [folder.part(each.number) for each in folder.partitioning.partitions]
    if output.suffix == ".faiss":
        write_index(parts, folder.job, request.index, output.path)
    else:
        merge(parts, rows, folder.job, output.path)
    _remove(folder.path, keep_folder=False)


def _stream(request: CorpusRequest, job: Job, executor: Executor) -> Summary:
    """Encode to standard output. Such a job cannot be resumed."""
    if not isinstance(executor, LocalExecutor):
        raise OptionError("standard output works on one machine only; name a file or a folder with -o.")
    partitioning = partition_inputs(job, request.partition_bytes)
    partitions, schema = partitioning.partitions, partitioning.schema
    bad_rows = _BadRowLog(None)
    with (
        _standard_output() as stream,
        Progress(sum(each.size for each in partitions), 0, request.show_progress) as progress,
    ):
        sink = make_sink(job.part_format, stream, job.vectors, schema, provenance(job))
        for window, vectors, others in encoded_windows(
            executor.encoder, executor.workers, job, schema, partitions, request.on_error
        ):
            write_window(sink, window, vectors, others)
            bad_rows.add(window.bad)
            progress.add(window.size, window.counts)
        seconds = progress.seconds
    return summarize(request.output, job, [progress.counts], progress.counts, seconds, 0)


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    stream = sys.stdout.buffer
    try:
        yield stream
        stream.flush()
    except OSError as error:
        discard()
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError.of("standard output", error) from error


class _BadRowLog:
    """Logs the first bad rows as they occur. A file lists all of them in the end."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._logged = 0

    def add(self, bad: Iterable[BadRow]) -> None:
        """Log more bad rows, up to the limit."""
        for row in bad:
            self._logged += 1
            if self._limit is None or self._logged <= self._limit:
                logger.warning("%s", row)
            elif self._logged == self._limit + 1:
                logger.warning("more rows are left out; all will be listed in a file beside the output.")
