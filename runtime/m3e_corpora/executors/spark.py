"""Spark: tasks that compute the partitions of a job, and vectors for the rows of a data frame."""

from __future__ import annotations

import dataclasses
import functools
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3e_corpora.arrow import import_arrow
from m3e_corpora.executors.bundle_transfer import pack_bundle
from m3e_corpora.executors.local import Settings
from m3e_corpora.executors.worker import Outcome, PartitionWorker, WorkerSpec, describe
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import M3EError, OptionError

__all__ = ["SparkEngine", "with_embeddings"]

_SPARK_TYPES = {"float32": "FloatType", "int8": "ByteType", "binary": "ByteType"}
_FAILURE = re.compile(r'm3e-outcome (\{".*\})')


class SparkEngine:
    """Tasks of Spark; see :class:`m3e_corpora.executors.local.Engine`.

    Inputs and output need the same paths on all machines. Each task computes in ``threads`` threads, one
    unless the request says otherwise: give ``spark.task.cpus`` the same number.

    Example:
        >>> engine = functools.partial(SparkEngine, session=spark)
        >>> encode_corpus(CorpusRequest("m3e-base-int8", ("/shared/corpus/",), "/shared/vectors/"), engine)
    """

    def __init__(self, request: CorpusRequest, session: Any, bundle_everywhere: bool = False) -> None:
        """Send the bundle to all machines.

        Args:
            request: what to encode.
            session: a ``pyspark.sql.SparkSession``.
            bundle_everywhere: the bundle has the same path on all machines and need not travel. Spark Connect
                cannot send it.

        Raises:
            BundleError: not a bundle.
            OptionError: the bundle cannot be sent.
        """
        self._session = session
        self._request = dataclasses.replace(
            request, bundle=Path(request.bundle).absolute(), threads=request.threads or 1
        )
        self._files = (
            None if bundle_everywhere else self._broadcast(pack_bundle(request.bundle, request.artifact))
        )

    def settings(self) -> Settings:
        """See :class:`m3e_corpora.executors.local.Engine`; one of the machines is asked."""
        ask = functools.partial(_describe, self._request, self._files)
        (row,) = self._collect(ask, 1)
        return from_json(row, Settings)

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`m3e_corpora.executors.local.Engine`. Spark does the work of a task that dies again.

        Progress is known when all is done; Spark's own pages tell it before.
        """
        if not partitions:
            return
        request = dataclasses.replace(self._request, artifact=folder.job.bundle.artifact)
        run = _Run(uuid.uuid4().hex, request, self._files, str(folder.path.absolute()))
        work = functools.partial(_compute, run, [each.number for each in partitions])
        sizes = {each.number: each.size for each in partitions}
        for row in self._collect(work, len(partitions)):
            record = from_json(row, PartRecord)
            on_progress(sizes[record.partition], record.counts)
            on_done(record)

    def close(self) -> None:
        """Take the bundle back from the machines' memory; the session stays."""
        if self._files is not None:
            self._files.destroy()

    def _broadcast(self, files: dict[str, bytes]) -> Any:
        try:
            return self._session.sparkContext.broadcast(files)
        except Exception as error:  # Spark Connect has no context, and says so in an error of its own
            raise OptionError(f"the bundle cannot be sent ({error}); put it on all machines.") from error

    def _collect(self, work: Callable[[Iterator[Any]], Iterator[Any]], tasks: int) -> list[bytes]:
        """The answers of ``tasks`` tasks, of which each gets its number."""
        frame = self._session.range(0, tasks, 1, tasks).mapInArrow(work, "answer binary")
        try:
            return [bytes(row.answer) for row in frame.collect()]
        except Exception as error:  # what a task raised arrives in one of several classes, as text
            if failure := _FAILURE.search(str(error)):
                from_json(failure[1], Outcome).unwrap()
            raise


def with_embeddings(
    frame: Any,
    bundle: str | Path,
    field: str = "text",
    column: str = "embedding",
    device: str = "auto",
    threads: int = 1,
    **options: Any,
) -> Any:
    """A data frame with a column of vectors, ``array<float>`` (``array<tinyint>`` for int8 and binary).

    Args:
        frame: a ``pyspark.sql.DataFrame``.
        bundle: the bundle's folder, on every machine.
        field: the column of the texts; a null has no vector.
        column: the column to add.
        device: as in :meth:`m3e_runtime.Encoder.load`.
        threads: of each task; give ``spark.task.cpus`` the same number.
        options: those of :meth:`m3e_runtime.Encoder.encode`.

    Raises:
        OptionError: a precision that Spark has no type for.
    """
    from pyspark.sql import types

    precision = options.get("precision", "float32")
    if precision not in _SPARK_TYPES:
        raise OptionError(f"precision={precision!r}: Spark takes one of {', '.join(_SPARK_TYPES)}.")
    value = getattr(types, _SPARK_TYPES[precision])()
    schema = types.StructType([*frame.schema.fields, types.StructField(column, types.ArrayType(value))])
    load = functools.partial(_load, str(bundle), device, threads)
    return frame.mapInArrow(functools.partial(_embed, load, field, column, options), schema)


@dataclass(frozen=True)
class _Run:
    """What a task is told of the job."""

    key: str
    request: CorpusRequest
    files: Any
    folder: str

    def worker(self) -> PartitionWorker:
        """The process's worker, which loads the encoder with the first task and keeps it for the others."""
        if self.key not in _workers:
            _workers.clear()
            _workers[self.key] = PartitionWorker(_worker_spec(self.request, self.files), Path(self.folder))
        return _workers[self.key]


_workers: dict[str, PartitionWorker] = {}


def _worker_spec(request: CorpusRequest, files: Any) -> WorkerSpec:
    return WorkerSpec(request, request.artifact, None if files is None else files.value)


def _compute(run: _Run, numbers: Sequence[int], batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        for index in batch.column("id").to_pylist():
            with _telling_errors():
                (outcome,) = run.worker().run([numbers[index]])
                record = outcome.unwrap()
            yield _answer(to_json(record))


def _describe(request: CorpusRequest, files: Any, batches: Iterator[Any]) -> Iterator[Any]:
    for _ in batches:
        with _telling_errors():
            settings = describe(_worker_spec(request, files))
        yield _answer(to_json(settings))


@contextmanager
def _telling_errors() -> Iterator[None]:
    """Put an error of this package into words that the driver finds in Spark's."""
    try:
        yield
    except M3EError as error:
        outcome = Outcome(error=type(error).__name__, message=str(error))
        raise RuntimeError(f"m3e-outcome {to_json(outcome).decode()}") from error


def _answer(content: bytes) -> Any:
    return import_arrow("Spark").RecordBatch.from_pydict({"answer": [content]})


@functools.lru_cache(maxsize=1)
def _load(bundle: str, device: str, threads: int) -> Encoder:
    return Encoder.load(bundle, device=device, threads=threads)


def _embed(
    load: Callable[[], Encoder], field: str, column: str, options: dict[str, Any], batches: Iterator[Any]
) -> Iterator[Any]:
    arrow = import_arrow("Spark")
    encoder = load()
    for batch in batches:
        texts = batch.column(field).to_pylist()
        there = [index for index, text in enumerate(texts) if text is not None]
        found = encoder.encode([texts[index] for index in there], show_progress_bar=False, **options)
        vectors: list[Any] = [None] * len(texts)
        for index, vector in zip(there, found, strict=True):
            vectors[index] = vector
        kind = arrow.list_(arrow.from_numpy_dtype(found.dtype))
        columns = [*batch.columns, arrow.array(vectors, kind)]
        yield arrow.RecordBatch.from_arrays(columns, names=[*batch.schema.names, column])
