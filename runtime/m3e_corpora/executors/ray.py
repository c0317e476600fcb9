"""Ray: an actor pool that computes the partitions of a job, and a class for Ray Data pipelines."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m3e_corpora.executors.bundle_transfer import pack_bundle
from m3e_corpora.executors.cluster import Machine, plan_workers
from m3e_corpora.executors.local import Settings
from m3e_corpora.executors.worker import Outcome, PartitionWorker, WorkerSpec, describe
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.backends.choice import is_for_gpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import EngineMissingError, M3EError

__all__ = ["EncodeBatches", "RayEngine"]

_MOST_BLOCKS = 10_000
"""With more blocks Ray's own bookkeeping takes time; a block of a larger job has several partitions."""


class RayEngine:
    """Actors of a Ray cluster; see :class:`m3e_corpora.executors.local.Engine`.

    Inputs and output need the same paths on all machines. The bundle travels through Ray's object store.
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
            request: what to encode; its ``threads`` are those of an actor.
            address: of the cluster, by default what ``RAY_ADDRESS`` says, or a new one on this machine.
            actors: by default as many as the cluster has room for now; more where it grows by itself.
            bundle_everywhere: the bundle has the same path on all machines and need not travel.

        Raises:
            EngineMissingError: Ray is not installed.
            OptionError: the cluster has no room for an actor.
            BundleError: not a bundle.
        """
        self._ray = _import_ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        machines = [_machine(node) for node in self._ray.nodes() if node["Alive"]]
        on_gpu = _wants_gpu(request, any(each.gpus for each in machines))
        self._plan = plan_workers(machines, on_gpu, request.threads, actors)
        self._request = dataclasses.replace(
            request,
            bundle=Path(request.bundle).absolute(),
            device=("cuda" if request.device == "auto" else request.device) if on_gpu else "cpu",
            threads=self._plan.cpus,
        )
        self._ships = not bundle_everywhere

    def settings(self) -> Settings:
        """See :class:`m3e_corpora.executors.local.Engine`; one of the machines is asked."""
        probe = self._ray.remote(num_cpus=self._plan.cpus, num_gpus=self._plan.gpus)(describe)
        try:
            settings: Settings = self._ray.get(probe.remote(self._spec(self._request.artifact)))
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, M3EError):
                raise error.cause from None
            raise
        return settings

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`m3e_corpora.executors.local.Engine`. The work of an actor that dies is done again."""
        if not partitions:
            return
        spec = self._ray.put(self._spec(folder.job.bundle.artifact))
        data = _import_ray_data()
        rows = [{"partition": each.number} for each in partitions]
        outcomes = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
            _Actor,
            batch_size=1,
            compute=data.ActorPoolStrategy(
                size=min(self._plan.workers, len(rows)),
                max_tasks_in_flight_per_actor=1,  # none waits for a slow actor while another is idle
            ),
            num_cpus=self._plan.cpus,
            num_gpus=self._plan.gpus,
            fn_constructor_kwargs={"spec": spec, "folder": str(folder.path.absolute())},
        )
        sizes = {each.number: each.size for each in partitions}
        for row in outcomes.iter_rows():
            record = from_json(row["outcome"], Outcome).unwrap()
            on_progress(sizes[record.partition], record.counts)
            on_done(record)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._ray.shutdown()

    def _spec(self, artifact: str | None) -> WorkerSpec:
        files = pack_bundle(self._request.bundle, artifact) if self._ships else None
        return WorkerSpec(self._request, artifact, files)


class EncodeBatches:
    """Adds vectors to the batches of any Ray data set.

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
            bundle: the bundle's folder, on every machine.
            field: the column of the texts.
            column: the column of the vectors to add.
            device: as in :meth:`m3e_runtime.Encoder.load`.
            threads: as many as ``num_cpus`` of the actor.
            options: those of :meth:`m3e_runtime.Encoder.encode`.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`.
        """
        self._encoder = Encoder.load(bundle, device=device, threads=threads)
        self._field, self._column, self._options = field, column, options

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch, columns as arrays, with vectors ``[n, length]``."""
        texts = batch[self._field].tolist()
        vectors = self._encoder.encode(texts, show_progress_bar=False, **self._options)
        return {**batch, self._column: vectors}


class _Actor:
    """A :class:`PartitionWorker` as Ray Data calls it."""

    def __init__(self, spec: Any, folder: str) -> None:
        self._worker = PartitionWorker(_import_ray().get(spec), Path(folder))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        outcomes = self._worker.run(batch["partition"].tolist())
        return {"outcome": [to_json(outcome) for outcome in outcomes]}


def _wants_gpu(request: CorpusRequest, there_is_one: bool) -> bool:
    """As :meth:`m3e_runtime.Encoder.load` decides: ``auto`` takes a GPU if the bundle is made for one."""
    if request.device != "auto":
        return request.device != "cpu"
    artifacts = Bundle.open(request.bundle).manifest.artifacts
    return there_is_one and any(
        is_for_gpu(each) for each in artifacts if request.artifact in (None, each.name)
    )


def _machine(node: dict[str, Any]) -> Machine:
    resources = node["Resources"]
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def _import_ray() -> Any:
    """The package.

    Raises:
        EngineMissingError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise EngineMissingError("--engine ray needs Ray: `pip install 'm3e-runtime[ray]'`.") from error


def _import_ray_data() -> Any:
    data = importlib.import_module("ray.data")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return data
