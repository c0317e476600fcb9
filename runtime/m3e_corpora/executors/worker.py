"""A worker process that computes partitions of a job, for Ray and Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from m3e_corpora.encoding.partitions import run_partitions
from m3e_corpora.encoding.tokens import Model
from m3e_corpora.executors.base import EncodingSpec
from m3e_corpora.executors.bundle_transfer import install_bundle
from m3e_corpora.executors.local import describe_encoding, load_encoder
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.request import CorpusRequest
from m3e_runtime.errors import M3EError

__all__ = ["Outcome", "PartitionWorker", "WorkerSpec", "describe"]


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to know.

    Attributes:
        request: the options. Its bundle path is used only if ``files`` is None.
        artifact: the artifact to run, the same on all machines.
        files: the bundle, from :func:`m3e_corpora.executors.bundle_transfer.read_bundle`.
    """

    request: CorpusRequest
    artifact: str | None = None
    files: dict[str, bytes] | None = None

    def load(self) -> tuple[Model, int]:
        """Load the encoder on this machine; see :func:`m3e_corpora.executors.local.load_encoder`."""
        bundle = self.request.bundle if self.files is None else install_bundle(self.files)
        return load_encoder(dataclasses.replace(self.request, bundle=bundle), self.artifact)


class Outcome(msgspec.Struct, frozen=True):
    """The record of a partition, or the class and message of the error that prevented it."""

    record: PartRecord | None = None
    error: str = ""
    message: str = ""

    def unwrap(self) -> PartRecord:
        """Return the record.

        Raises:
            M3EError: the error of the worker, with its class.
        """
        if self.record is None:
            raise _error_class(self.error)(self.message)
        return self.record


class PartitionWorker:
    """Loads the encoder once, then computes partitions of the job in ``folder``."""

    def __init__(self, spec: WorkerSpec, folder: Path) -> None:
        self._on_error = spec.request.on_error
        self._encoder, self._threads = spec.load()
        self._folder = JobFolder.open(folder)

    def run(self, numbers: Iterable[int]) -> Iterator[Outcome]:
        """Compute the partitions with these numbers. An error is the last outcome."""
        partitions = [self._folder.partitioning.partitions[number] for number in numbers]
        records = run_partitions(self._encoder, self._threads, self._folder, partitions, self._on_error)
        try:
            for record in records:
                yield Outcome(record)
        except M3EError as error:
            yield Outcome(error=type(error).__name__, message=str(error))


def describe(spec: WorkerSpec) -> EncodingSpec:
    """Describe what a worker would compute. One machine is asked, so that all run the same artifact."""
    encoder, _ = spec.load()
    try:
        return describe_encoding(encoder, spec.request)
    finally:
        encoder.close()


def _error_class(name: str) -> type[M3EError]:
    found = [M3EError]
    for each in found:
        if each.__name__ == name:
            return each
        found += each.__subclasses__()
    return M3EError
