"""The Spark executor, and vectors for the rows of a data frame."""

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
from m3e_corpora.executors.base import EncodingSpec
from m3e_corpora.executors.bundle_transfer import read_bundle
from m3e_corpora.executors.row_options import check_one_vector
from m3e_corpora.executors.worker import Outcome, PartitionWorker, WorkerSpec, describe
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import M3EError, OptionError
from m3e_runtime.extras import extra_packages

__all__ = ["SparkExecutor", "with_embeddings"]

_SPARK_TYPES = {"float32": "FloatType", "int8": "ByteType", "binary": "ByteType"}
_FAILURE = re.compile(r'm3e-outcome (\{".*\})')


class SparkExecutor:
    """Computes in tasks of Spark; see :class:`m3e_corpora.executors.base.Executor`.

    Inputs and output need the same paths on all machines. Each task computes in the request's ``threads``, by
    default one. Set ``spark.task.cpus`` to the same number.

    Example:
        >>> executor = functools.partial(SparkExecutor, session=spark)
        >>> encode_corpus(CorpusRequest("m3e-base-int8", ("/shared/corpus/",), "/shared/vectors/"), executor)
    """

    def __init__(self, request: CorpusRequest, session: Any, bundle_everywhere: bool = False) -> None:
        """Transfer the bundle to all machines.

        Args:
            request: what to encode.
            session: a ``pyspark.sql.SparkSession``.
            bundle_everywhere: the bundle has the same path on all machines and is not transferred. Spark
                Connect needs this.

        Raises:
            BundleError: the folder is not a bundle.
            OptionError: the bundle cannot be transferred.
        """
        self._session = session
        self._request = dataclasses.replace(
            request, bundle=Path(request.bundle).absolute(), threads=request.threads or 1
        )
        self._files = (
            None if bundle_everywhere else self._broadcast(read_bundle(request.bundle, request.artifact))
        )

    def describe(self) -> EncodingSpec:
        """See :class:`m3e_corpora.executors.base.Executor`. One machine of the cluster is asked."""
        ask = functools.partial(_describe, self._request, self._files)
        (row,) = self._collect(ask, 1)
        return from_json(row, EncodingSpec)

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`m3e_corpora.executors.base.Executor`. Spark repeats the work of a task that dies.

        Progress is reported only at the end. Spark's web interface shows it earlier.
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
        """Remove the bundle from the memory of the machines. The session stays open."""
        if self._files is not None:
            self._files.destroy()

    def _broadcast(self, files: dict[str, bytes]) -> Any:
        try:
            return self._session.sparkContext.broadcast(files)
        except Exception as error:  # Spark Connect has no context, and raises its own kind of error
            raise OptionError(
                f"the bundle cannot be transferred ({error}); copy it to all machines and "
                "set bundle_everywhere=True."
            ) from error

    def _collect(self, work: Callable[[Iterator[Any]], Iterator[Any]], tasks: int) -> list[bytes]:
        """Run ``tasks`` tasks, each with its number, and return their answers."""
        frame = self._session.range(0, tasks, 1, tasks).mapInArrow(work, "answer binary")
        try:
            return [bytes(row.answer) for row in frame.collect()]
        except Exception as error:  # the error of a task arrives as text, in one of several classes
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
    """Add a column of vectors, ``array<float>``, or ``array<tinyint>`` for int8 and binary.

    Args:
        frame: a ``pyspark.sql.DataFrame``.
        bundle: folder of the bundle, on every machine.
        field: column of the texts. The vector of a null is null.
        column: column of the vectors, which is added.
        device: as in :meth:`m3e_runtime.Encoder.load`.
        threads: threads of each task. Set ``spark.task.cpus`` to the same number.
        options: options of :meth:`m3e_runtime.Encoder.encode` that give a text one vector.

    Raises:
        OptionError: Spark has no type for the precision, or an option gives a text several vectors.
    """
    check_one_vector(options)
    with extra_packages("encoding a data frame of Spark", "spark", "pyspark"):
        from pyspark.sql import types

    precision = options.get("precision", "float32")
    if precision not in _SPARK_TYPES:
        raise OptionError(f"precision={precision!r}: Spark supports only {', '.join(_SPARK_TYPES)}.")
    value = getattr(types, _SPARK_TYPES[precision])()
    schema = types.StructType([*frame.schema.fields, types.StructField(column, types.ArrayType(value))])
    load = functools.partial(_load, str(bundle), device, threads)
    return frame.mapInArrow(functools.partial(_embed, load, field, column, options), schema)


@dataclass(frozen=True)
class _Run:
    """What a task needs to know about the job."""

    key: str
    request: CorpusRequest
    files: Any
    folder: str

    def worker(self) -> PartitionWorker:
        """The worker of this process. The first task loads its encoder; later tasks use it again."""
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
            with _errors_as_text():
                (outcome,) = run.worker().run([numbers[index]])
                record = outcome.unwrap()
            yield _answer(to_json(record))


def _describe(request: CorpusRequest, files: Any, batches: Iterator[Any]) -> Iterator[Any]:
    for _ in batches:
        with _errors_as_text():
            found = describe(_worker_spec(request, files))
        yield _answer(to_json(found))


@contextmanager
def _errors_as_text() -> Iterator[None]:
    """Write an error of this package in a form that the driver finds in Spark's message."""
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
        present = [index for index, text in enumerate(texts) if text is not None]
        found = encoder.encode([texts[index] for index in present], show_progress_bar=False, **options)
        vectors: list[Any] = [None] * len(texts)
        for index, vector in zip(present, found, strict=True):
            vectors[index] = vector
        kind = arrow.list_(arrow.from_numpy_dtype(found.dtype))
        columns = [*batch.columns, arrow.array(vectors, kind)]
        yield arrow.RecordBatch.from_arrays(columns, names=[*batch.schema.names, column])
