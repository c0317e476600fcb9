"""Who computes the partitions of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from m3e_corpora.encoding.partitions import run_partitions
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.job import BundleId
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.outputs.vectors import VectorSpec, pack_ranges
from m3e_runtime.arguments import check_batch_size
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.threads import available_threads

__all__ = ["Engine", "LocalEngine", "Settings", "load_encoder", "settings_of"]

_GPU_CALLERS = 2
"""Threads that call an engine on a GPU: one prepares its batch while the other's is computed."""


class Settings(NamedTuple):
    """What only a loaded encoder can tell of a job."""

    bundle: BundleId
    vectors: VectorSpec
    prompt: str


class Engine(Protocol):
    """Computes partitions, wherever."""

    def settings(self) -> Settings:
        """What will run.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`; an option's value cannot be used.
        """

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """Do partitions, in any order.

        Args:
            folder: the job.
            partitions: the ones to do.
            on_progress: called with bytes of the input and what became of their rows.
            on_done: called with the record of each partition.

        Raises:
            M3EError: as :func:`m3e_corpora.encoding.partitions.run_partitions`.
        """

    def close(self) -> None:
        """Give back what it holds."""


class LocalEngine:
    """This process."""

    def __init__(self, request: CorpusRequest) -> None:
        self._request = request
        self.encoder, self.workers = load_encoder(request, request.artifact)

    def settings(self) -> Settings:
        """See :class:`Engine`."""
        return settings_of(self.encoder, self._request)

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`Engine`."""
        for record in run_partitions(
            self.encoder,
            self.workers,
            folder,
            partitions,
            self._request.on_error,
            lambda window: on_progress(window.size, window.counts),
        ):
            on_done(record)

    def close(self) -> None:
        """See :class:`Engine`."""
        self.encoder.close()


def load_encoder(request: CorpusRequest, artifact: str | None) -> tuple[Encoder, int]:
    """An encoder and the number of threads to call it from.

    On a CPU each caller computes alone, in one thread: cores with batches of their own never wait for each
    other, which cores that share one do whenever the system gives one of them something else to do.
    """
    threads = request.threads or available_threads()
    if request.threads is not None and request.threads < 1:
        raise OptionError(f"threads={request.threads}: at least one thread is needed.")
    encoder = Encoder.load(request.bundle, device=request.device, artifact=artifact, threads=1)
    return encoder, threads if encoder.info["device"] == "cpu" else _GPU_CALLERS


def settings_of(encoder: Encoder, request: CorpusRequest) -> Settings:
    """What ``encoder`` tells of a job.

    Raises:
        OptionError: an option's value cannot be used with this bundle.
    """
    ranges = request.ranges
    asked = encoder.output_options(request.truncate_dim, request.normalize, request.precision, ranges)
    check_batch_size(request.batch_size)
    dimension = asked.truncate_dim
    if ranges is not None and ranges.shape != (2, dimension):
        raise OptionError(f"ranges must have shape (2, {dimension}), not {ranges.shape}.")
    return Settings(
        BundleId.of(encoder.bundle, encoder.artifact.name),
        VectorSpec(
            dimension, asked.precision, asked.normalize, None if ranges is None else pack_ranges(ranges)
        ),
        "" if request.prompt_field else encoder.prefix(request.prompt_name, request.prompt),
    )
