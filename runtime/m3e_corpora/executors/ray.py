"""The Ray executor, and a class for Ray Data pipelines."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m3e_corpora.executors.base import EncodingSpec
from m3e_corpora.executors.bundle_transfer import read_bundle
from m3e_corpora.executors.cluster import Machine, size_pool
from m3e_corpora.executors.row_options import check_one_vector
from m3e_corpora.executors.worker import Outcome, PartitionWorker, WorkerSpec, describe
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.backends.choice import is_for_gpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import M3EError
from m3e_runtime.extras import extra_packages

__all__ = ["EncodeBatches", "RayExecutor"]

_MOST_BLOCKS = 10_000
"""More blocks would slow down Ray's bookkeeping. In a larger job a block has several partitions."""


class RayExecutor:
    """Computes in actors of a Ray cluster; see :class:`m3e_corpora.executors.base.Executor`.

    Inputs and output need the same paths on all machines. Ray's object store transfers the bundle.
    """

    def __init__(
        self,
        request: CorpusRequest,
        address: str | None = None,
        actors: int | None = None,
        bundle_everywhere: bool = False,
    ) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            request: what to encode. Its ``threads`` are those of one actor.
            address: address of the cluster. By default ``RAY_ADDRESS``, or a new cluster on this machine.
            actors: number of actors. By default as many as fit now; more are allowed, for clusters that grow.
            bundle_everywhere: the bundle has the same path on all machines and is not transferred.

        Raises:
            DependencyMissingError: Ray is not installed.
            OptionError: no actor fits into the cluster.
            BundleError: the folder is not a bundle.
        """
        self._ray = _import_ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        machines = [_machine(node) for node in self._ray.nodes() if node["Alive"]]
        on_gpu = _wants_gpu(request, any(each.gpus for each in machines))
        self._pool = size_pool(machines, on_gpu, request.threads, actors)
        self._request = dataclasses.replace(
            request,
            bundle=Path(request.bundle).absolute(),
            device=("cuda" if request.device == "auto" else request.device) if on_gpu else "cpu",
            threads=self._pool.cpus,
        )
        self._transfers_bundle = not bundle_everywhere

    def describe(self) -> EncodingSpec:
        """See :class:`m3e_corpora.executors.base.Executor`. One machine of the cluster is asked."""
        probe = self._ray.remote(num_cpus=self._pool.cpus, num_gpus=self._pool.gpus)(describe)
        try:
            found: EncodingSpec = self._ray.get(probe.remote(self._spec(self._request.artifact)))
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, M3EError):
                raise error.cause from None
            raise
        return found

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`m3e_corpora.executors.base.Executor`. Ray repeats the work of an actor that dies."""
        if not partitions:
            return
        spec = self._ray.put(self._spec(folder.job.bundle.artifact))
        data = _import_ray_data()
        rows = [{"partition": each.number} for each in partitions]
        outcomes = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
            _Actor,
            batch_size=1,
            compute=data.ActorPoolStrategy(
                size=min(self._pool.workers, len(rows)),
                max_tasks_in_flight_per_actor=1,  # no partition waits for a slow actor while another is idle
            ),
            num_cpus=self._pool.cpus,
            num_gpus=self._pool.gpus,
            fn_constructor_kwargs={"spec": spec, "folder": str(folder.path.absolute())},
        )
        sizes = {each.number: each.size for each in partitions}
        for row in outcomes.iter_rows():
            record = from_json(row["outcome"], Outcome).unwrap()
            on_progress(sizes[record.partition], record.counts)
            on_done(record)

    def close(self) -> None:
        """Leave the cluster. A cluster that was started here is shut down."""
        if self._started:
            self._ray.shutdown()

    def _spec(self, artifact: str | None) -> WorkerSpec:
        files = read_bundle(self._request.bundle, artifact) if self._transfers_bundle else None
        return WorkerSpec(self._request, artifact, files)


class EncodeBatches:
    """Adds vectors to the rows of any Ray data set.

    Example:
        >>> ds = ray.data.read_parquet("s3://corpus/").map_batches(
        ...     EncodeBatches,
        ...     fn_constructor_kwargs={"bundle": "/shared/m3e-base-int8", "threads": 4},
        ...     compute=ray.data.ActorPoolStrategy(size=8),
        ...     num_cpus=4,
        ... )
    """

    def __init__(
        self,
        bundle: str | Path,
        field: str = "text",
        column: str = "embedding",
        device: str = "auto",
        threads: int = 1,
        **options: Any,
    ) -> None:
        """Load the encoder of an actor.

        Args:
            bundle: folder of the bundle, on every machine.
            field: column of the texts.
            column: column of the vectors, which is added.
            device: as in :meth:`m3e_runtime.Encoder.load`.
            threads: threads of the actor, equal to its ``num_cpus``.
            options: options of :meth:`m3e_runtime.Encoder.encode` that give a text one vector.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`.
            OptionError: an option gives a text several vectors.
        """
        check_one_vector(options)
        self._encoder = Encoder.load(bundle, device=device, threads=threads)
        self._field, self._column, self._options = field, column, options

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the rows, with columns as arrays, and their vectors ``[n, length]``."""
        texts = batch[self._field].tolist()
        vectors = self._encoder.encode(texts, show_progress_bar=False, **self._options)
        return {**batch, self._column: vectors}


class _Actor:
    """A :class:`PartitionWorker` with the interface of Ray Data."""

    def __init__(self, spec: Any, folder: str) -> None:
        self._worker = PartitionWorker(_import_ray().get(spec), Path(folder))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        outcomes = self._worker.run(batch["partition"].tolist())
        return {"outcome": [to_json(outcome) for outcome in outcomes]}


def _wants_gpu(request: CorpusRequest, available: bool) -> bool:
    """Decide as :meth:`m3e_runtime.Encoder.load`: ``auto`` takes a GPU if an artifact is made for one."""
    if request.device != "auto":
        return request.device != "cpu"
    artifacts = Bundle.open(request.bundle).manifest.artifacts
    return available and any(is_for_gpu(each) for each in artifacts if request.artifact in (None, each.name))


def _machine(node: dict[str, Any]) -> Machine:
    resources = node["Resources"]
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def _import_ray() -> Any:
    """Import ``ray``.

    Raises:
        DependencyMissingError: it is not installed.
    """
    with extra_packages("the Ray executor", "ray", "ray"):
        return importlib.import_module("ray")


def _import_ray_data() -> Any:
    data = importlib.import_module("ray.data")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return data
