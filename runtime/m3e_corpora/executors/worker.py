"""One of many processes that compute partitions of a job; the same for Ray and Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from m3e_corpora.encoding.partitions import run_partitions
from m3e_corpora.executors.bundle_transfer import unpack_bundle
from m3e_corpora.executors.local import Settings, load_encoder, settings_of
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.request import CorpusRequest
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import M3EError

__all__ = ["Outcome", "PartitionWorker", "WorkerSpec", "describe"]


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is told.

    Args:
        request: its options decide what is computed; the bundle's path counts where ``files`` is None.
        artifact: the artifact to run, the same on all machines.
        files: the bundle, packed by :func:`m3e_corpora.executors.bundle_transfer.pack_bundle`.
    """

    request: CorpusRequest
    artifact: str | None = None
    files: dict[str, bytes] | None = None

    def load(self) -> tuple[Encoder, int]:
        """See :func:`m3e_corpora.executors.local.load_encoder`; with the bundle's path on this machine."""
        bundle = self.request.bundle if self.files is None else unpack_bundle(self.files)
        return load_encoder(dataclasses.replace(self.request, bundle=bundle), self.artifact)


class Outcome(msgspec.Struct, frozen=True):
    """A partition's record, or why there is none: the class and the words of an error of this package."""

    record: PartRecord | None = None
    error: str = ""
    message: str = ""

    def unwrap(self) -> PartRecord:
        """The record.

        Raises:
            M3EError: of the class that the worker met.
        """
        if self.record is None:
            raise _error_class(self.error)(self.message)
        return self.record


class PartitionWorker:
    """Loads the encoder once, then does partitions of the job in ``folder``."""

    def __init__(self, spec: WorkerSpec, folder: Path) -> None:
        self._on_error = spec.request.on_error
        self._encoder, self._threads = spec.load()
        self._folder = JobFolder.open(folder)

    def run(self, numbers: Iterable[int]) -> Iterator[Outcome]:
        """Do the partitions of these numbers. After an error of this package there is no further one."""
        partitions = [self._folder.plan.partitions[number] for number in numbers]
        records = run_partitions(self._encoder, self._threads, self._folder, partitions, self._on_error)
        try:
            for record in records:
                yield Outcome(record)
        except M3EError as error:
            yield Outcome(error=type(error).__name__, message=str(error))


def describe(spec: WorkerSpec) -> Settings:
    """What a worker would run: called once on one of the machines, so that all do the same."""
    encoder, _ = spec.load()
    try:
        return settings_of(encoder, spec.request)
    finally:
        encoder.close()


def _error_class(name: str) -> type[M3EError]:
    found = [M3EError]
    for each in found:
        if each.__name__ == name:
            return each
        found += each.__subclasses__()
    return M3EError
