"""What every executor does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.job import BundleId
from m3e_corpora.job.partition import Partition
from m3e_corpora.outputs.vectors import VectorSpec
from m3e_runtime.late_interaction import Task

__all__ = ["EncodingSpec", "Executor"]


class EncodingSpec(NamedTuple):
    """The part of a job that depends on the loaded model.

    Attributes:
        bundle: the model and its artifact.
        vectors: the type of the stored vectors.
        prompt: the prompt before each text.
        task: what the texts are, for models that encode queries and documents differently.
    """

    bundle: BundleId
    vectors: VectorSpec
    prompt: str
    task: Task | None = None


class Executor(Protocol):
    """Computes the partitions of a job."""

    def describe(self) -> EncodingSpec:
        """Describe what :meth:`run` would compute.

        Raises:
            M3EError: the bundle cannot be loaded, or an option cannot be used with it.
        """

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """Compute partitions in any order.

        Args:
            folder: folder of the job.
            partitions: the partitions to compute.
            on_progress: called with a number of input bytes and the counts of their rows.
            on_done: called with the record of each finished partition.

        Raises:
            M3EError: as :func:`m3e_corpora.encoding.partitions.run_partitions`.
        """

    def close(self) -> None:
        """Release all resources."""
