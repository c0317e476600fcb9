"""Encoding a corpus, from the request to the finished output."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import m3e_runtime
from m3e_corpora.encoding.partitions import encoded_windows, write_window
from m3e_corpora.encoding.progress import Progress, padding_share
from m3e_corpora.executors.faiss_index import check_index, write_index
from m3e_corpora.executors.local import Engine, LocalEngine
from m3e_corpora.executors.merge import merge
from m3e_corpora.inputs.find import InputFile, find_inputs
from m3e_corpora.inputs.rows import BadRow
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord, forget_job, lock_folder, remove_job
from m3e_corpora.job.job import Job, provenance
from m3e_corpora.job.output_path import Target
from m3e_corpora.job.partition import make_plan
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.outputs.sinks import make_sink
from m3e_runtime.errors import OptionError, OutputError, ResumeError
from m3e_runtime.file_names import shown
from m3e_runtime.standard_output import discard

__all__ = ["Summary", "encode_corpus"]

logger = logging.getLogger(__name__)

_BAD_ROWS_LOGGED = 10


@dataclass(frozen=True)
class Summary:
    """What was done.

    ``texts``, ``duplicates``, ``truncated`` and ``skipped`` are of the whole output, see
    :class:`m3e_corpora.job.counts.Counts`; times, rates and ``padding_share`` are of this run.
    ``dimension`` is the length of a stored vector, an eighth for binary ones. ``resumed`` of the
    ``partitions`` were there before.
    """

    texts: int
    dimension: int
    dtype: str
    seconds: float
    texts_per_second: float
    tokens_per_second: float
    padding_share: float
    duplicates: int
    truncated: int
    skipped: int
    partitions: int
    resumed: int
    output: str


def encode_corpus(request: CorpusRequest, engine: Callable[[CorpusRequest], Engine] = LocalEngine) -> Summary:
    """Encode a corpus of any size in bounded memory.

    Partitions are written as parts, each whole or not there. A run that stops early leaves those that are
    complete, and ``request.resume`` goes on with them; one that stops before any is complete leaves nothing.

    Args:
        request: what to encode.
        engine: who computes; by default this process.

    Raises:
        OptionError: options that cannot be used, an output that exists.
        ResumeError: what was begun is another job, or another process is at it.
        InvalidTextError: a row that cannot be encoded, unless they are skipped.
        UnreadableInputError: an input is missing, broken, or has no such column.
        EngineMissingError: pyarrow is not installed where it is needed.
        M3EError: the output cannot be written; the bundle cannot be loaded.
    """
    target = request.check()
    inputs = find_inputs(request.inputs, request.format, target.files)
    _check_fields(request, inputs)
    with contextlib.closing(engine(request)) as computing:
        job = _make_job(request, target, inputs, computing)
        if target.kind == "stream":
            return _stream(request, job, computing)
        if target.suffix == ".faiss":
            check_index(job, request.index)
        with _job_folder(request, target, job) as folder:
            return _run(request, target, folder, computing)


def _check_fields(request: CorpusRequest, inputs: tuple[InputFile, ...]) -> None:
    for option, given in (("--field", request.field), ("--prompt-field", request.prompt_field)):
        if given is not None and all(file.format == "text" for file in inputs):
            raise OptionError(f"{option} names a column, and the input is read as text; add --format jsonl.")
    if request.encoding is not None and all(file.format == "parquet" for file in inputs):
        raise OptionError("--encoding is for text, CSV and JSON Lines; the texts of Parquet are UTF-8.")


def _make_job(request: CorpusRequest, target: Target, inputs: tuple[InputFile, ...], engine: Engine) -> Job:
    bundle, vectors, prompt = engine.settings()
    return Job(
        runtime=m3e_runtime.__version__,
        bundle=bundle,
        inputs=inputs,
        reading=request.reading(target.part_format, inputs),
        vectors=vectors,
        prompt=prompt,
        over_long=request.over_long,
        batch_size=request.batch_size,
        output=target.part_format,
    )


@contextmanager
def _job_folder(request: CorpusRequest, target: Target, job: Job) -> Iterator[JobFolder]:
    """The job that was begun or begins now; nothing is left of one that stops before a part is complete."""
    existed = target.parts.exists()
    with lock_folder(target.parts):
        try:
            yield _begin(request, target.parts, job)
        except ResumeError:
            raise
        except BaseException as error:
            kept = _leave(target.parts, existed)
            if kept and not isinstance(error, KeyboardInterrupt):
                logger.warning("%s.", kept)
            error.add_note(kept or "nothing is kept to go on with")
            raise


def _begin(request: CorpusRequest, path: Path, job: Job) -> JobFolder:
    if request.force:
        forget_job(path)
    if not JobFolder.exists(path):
        return JobFolder.begin(path, job, make_plan(job, request.partition_bytes))
    folder = JobFolder.open(path)
    folder.check_same(job)
    folder.clean()
    return folder


def _leave(path: Path, existed: bool) -> str | None:
    """Remove a job of which no partition is complete; say of another what is kept and how to go on."""
    if JobFolder.exists(path) and (done := len(JobFolder.open(path).done())):
        return f"{done} partitions are kept in {path}; the same command with --resume goes on"
    _remove(path, keep_folder=existed)
    return None


def _remove(path: Path, keep_folder: bool) -> None:
    remove_job(path)
    if not keep_folder:
        with contextlib.suppress(OSError):  # somebody put something else there
            path.rmdir()


def _run(request: CorpusRequest, target: Target, folder: JobFolder, engine: Engine) -> Summary:
    counts = {number: record.counts for number, record in folder.done().items()}
    resumed = len(counts)
    partitions = folder.plan.partitions
    bad_rows = _BadRowLog(_BAD_ROWS_LOGGED)

    def done(record: PartRecord) -> None:
        counts[record.partition] = record.counts
        bad_rows.add(record.bad)

    before = sum(each.size for each in partitions if each.number in counts)
    total = sum(each.size for each in partitions)
    with Progress(total, before, request.show_progress) as progress:
        engine.run(folder, [each for each in partitions if each.number not in counts], progress.add, done)
        seconds = progress.seconds
    _finish(request, target, folder, sum(each.texts for each in counts.values()))
    return _summary(request, folder.job, counts.values(), progress.counts, seconds, resumed)


def _finish(request: CorpusRequest, target: Target, folder: JobFolder, rows: int) -> None:
    if target.kind == "folder":
        folder.clean()  # of workers that died
        folder.write_rejected(folder.rejected)
        folder.complete()
        return
    folder.write_rejected(target.rejected)
    parts = [folder.part(each.number) for each in folder.plan.partitions]
    if target.suffix == ".faiss":
        write_index(parts, folder.job, request.index, target.path)
    else:
        merge(parts, rows, folder.job, target.path)
    _remove(folder.path, keep_folder=False)


def _stream(request: CorpusRequest, job: Job, engine: Engine) -> Summary:
    """To standard output, which no run can go on with."""
    if not isinstance(engine, LocalEngine):
        raise OptionError("standard output is for one machine; name a file or a folder with -o.")
    plan = make_plan(job, request.partition_bytes)
    bad_rows = _BadRowLog(None)
    with (
        _standard_output() as stream,
        Progress(sum(each.size for each in plan.partitions), 0, request.show_progress) as progress,
    ):
        sink = make_sink(job.output, stream, job.vectors, plan.schema, provenance(job))
        for window, vectors in encoded_windows(
            engine.encoder, engine.workers, job, plan, plan.partitions, request.on_error
        ):
            write_window(sink, window, vectors)
            bad_rows.add(window.bad)
            progress.add(window.size, window.counts)
        seconds = progress.seconds
    return _summary(request, job, [progress.counts], progress.counts, seconds, 0)


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
    """Tells of the first bad rows as they come; a file has them all in the end."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._told = 0

    def add(self, bad: Iterable[BadRow]) -> None:
        """Tell of some more."""
        for row in bad:
            self._told += 1
            if self._most is None or self._told <= self._most:
                logger.warning("%s", row)
            elif self._told == self._most + 1:
                logger.warning("more rows are left out; they will be listed in a file beside the output.")


def _summary(
    request: CorpusRequest, job: Job, counts: Iterable[Counts], run: Counts, seconds: float, resumed: int
) -> Summary:
    partitions = list(counts)
    total = sum(partitions, Counts())
    seconds = max(seconds, 1e-9)
    return Summary(
        texts=total.texts,
        dimension=job.vectors.length,
        dtype=str(job.vectors.dtype),
        seconds=round(seconds, 3),
        texts_per_second=round(run.texts / seconds, 1),
        tokens_per_second=round(run.tokens / seconds, 1),
        padding_share=round(padding_share(run), 4),
        duplicates=total.duplicates,
        truncated=total.truncated,
        skipped=total.skipped,
        partitions=len(partitions),
        resumed=resumed,
        output=shown(request.output),
    )
