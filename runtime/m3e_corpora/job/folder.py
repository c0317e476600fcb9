"""The folder of a job: its parts, each complete or absent, and a record of each finished partition."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from m3e_corpora.errors import ResumeError
from m3e_corpora.inputs.rows import BadRow
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.differences import differences
from m3e_corpora.job.job import Job
from m3e_corpora.job.lock import locked
from m3e_corpora.job.partition import Partitioning
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.atomic_file import TEMPORARY_PREFIX, atomic_file
from m3e_runtime.errors import OutputError

__all__ = ["JobFolder", "PartRecord", "forget_job", "is_free", "lock_folder", "remove_job", "remove_unbegun"]

_STATE = "_m3e"  # readers of Parquet folders skip names that begin with _ or .
_JOB = "job.json"
_COMPLETE = "_SUCCESS"
_RECORDS = "parts"
_REJECTED = "rejected.jsonl"


class PartRecord(msgspec.Struct, frozen=True):
    """The record of a finished partition.

    Attributes:
        partition: number of the partition.
        size: bytes of its part.
        counts: how its rows were processed.
        bad: rows that are left out.
    """

    partition: int
    size: int
    counts: Counts
    bad: tuple[BadRow, ...]


class _Stored(msgspec.Struct, frozen=True):
    job: Job
    partitioning: Partitioning


class JobFolder:
    """The folder of a job.

    Any number of processes may write parts at the same time. Only one may begin or complete the job.
    """

    def __init__(self, path: Path, job: Job, partitioning: Partitioning) -> None:
        self.path = path
        self.job = job
        self.partitioning = partitioning

    @staticmethod
    def begin(path: Path, job: Job, partitioning: Partitioning) -> JobFolder:
        """Record a new job in a folder that is locked.

        Raises:
            OutputError: the record cannot be written.
        """
        with atomic_file(path / _STATE / _JOB) as stream:
            stream.write(to_json(_Stored(job, partitioning), indent=1) + b"\n")
        return JobFolder(path, job, partitioning)

    @staticmethod
    def open(path: Path) -> JobFolder:
        """Read the job that was begun in the folder.

        Raises:
            ResumeError: there is no job, or this version does not understand it.
        """
        file = path / _STATE / _JOB
        try:
            stored = from_json(file.read_bytes(), _Stored)
        except OSError as error:
            raise ResumeError(f"{path}: no job was begun there ({error.strerror}).") from error
        except ValueError as error:
            raise ResumeError(
                f"{file}: not a job of this version ({error}); start again with --force."
            ) from error
        return JobFolder(path, stored.job, stored.partitioning)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a job was begun in the folder."""
        return (path / _STATE / _JOB).is_file()

    def check_same(self, job: Job) -> None:
        """Check that ``job`` is the one that was begun.

        Raises:
            ResumeError: it is not; the message names the differences.
        """
        found = differences(self.job, job)
        if found:
            raise ResumeError(
                f"{self.path}: was begun differently: {'; '.join(found[:3])}. Use the same input and "
                "options, or start again with --force."
            )

    def done(self) -> dict[int, PartRecord]:
        """Return the records of finished partitions: those whose part exists and has the recorded size."""
        records = {}
        for file in (self.path / _STATE / _RECORDS).glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                record = from_json(file.read_bytes(), PartRecord)
                if self.part(record.partition).stat().st_size == record.size:
                    records[record.partition] = record
        return records

    def part(self, number: int) -> Path:
        """Return the path of a partition's part."""
        width = max(5, len(str(len(self.partitioning.partitions) - 1)))
        return self.path / f"part-{number:0{width}}.{self.job.part_format}"

    def new_part(self, number: int) -> AbstractContextManager[BinaryIO]:
        """Open a part for writing; see :func:`m3e_runtime.atomic_file.atomic_file`."""
        return atomic_file(self.part(number))

    def record(self, number: int, counts: Counts, bad: list[BadRow]) -> PartRecord:
        """Record a partition as finished, after its part is in place.

        Raises:
            OutputError: the record cannot be written.
        """
        record = PartRecord(number, self.part(number).stat().st_size, counts, tuple(bad))
        with atomic_file(self.path / _STATE / _RECORDS / f"{number}.json") as stream:
            stream.write(to_json(record, indent=1) + b"\n")
        return record

    def complete(self) -> None:
        """Mark the folder as complete, as Hadoop and Spark do.

        Raises:
            OutputError: the mark cannot be written.
        """
        with atomic_file(self.path / _COMPLETE):
            pass

    def clean(self) -> None:
        """Remove the temporary files of killed processes. No process may be writing."""
        for folder in (self.path, self.path / _STATE, self.path / _STATE / _RECORDS):
            for file in folder.glob(f"{TEMPORARY_PREFIX}*"):
                file.unlink(missing_ok=True)

    def write_rejected(self, file: Path) -> None:
        """Write the bad rows of all partitions as JSON Lines. There is no file if there are none.

        Raises:
            OutputError: the file cannot be written.
        """
        file.unlink(missing_ok=True)
        records = self.done()
        bad = [row for number in sorted(records) for row in records[number].bad]
        if bad:
            with atomic_file(file) as stream:
                stream.writelines(msgspec.json.encode(row) + b"\n" for row in bad)

    @property
    def rejected(self) -> Path:
        """The file that lists the bad rows of a folder of parts."""
        return self.path / _STATE / _REJECTED


def is_free(path: Path) -> bool:
    """Whether a job can begin in the folder: it is empty, or a job died before it was recorded."""
    return path.is_dir() and all(each.name == _STATE for each in path.iterdir())


@contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Create the folder of a job, and prevent other processes from beginning or completing a job there.

    Raises:
        ResumeError: another process holds the lock.
        OutputError: the folder cannot be created. Nothing of it is left.
    """
    existed = path.exists()
    try:
        (path / _STATE / _RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not existed:
            shutil.rmtree(path, ignore_errors=True)
        raise OutputError.of(path, error) from error
    with locked(path / _STATE / "lock"):
        yield


def remove_unbegun(path: Path) -> None:
    """Remove a folder that :func:`lock_folder` created, unless a job or another process has begun in it.

    An interrupt can come after the folder is created and before anybody is ready to remove it.
    """
    with contextlib.suppress(ResumeError, OSError), locked(path / _STATE / "lock"):
        if not JobFolder.exists(path):
            shutil.rmtree(path / _STATE)
    with contextlib.suppress(OSError):  # it is gone, or something is in it
        path.rmdir()


def forget_job(path: Path) -> None:
    """Remove a job and its parts, so that another can begin in the folder, which stays locked."""
    state = (f"{_STATE}/*.json*", f"{_STATE}/{_RECORDS}/*")
    for pattern in ("part-*", f"{TEMPORARY_PREFIX}*", _COMPLETE, *state):
        for file in path.glob(pattern):
            file.unlink()


def remove_job(path: Path) -> None:
    """Remove a job, its parts and all files of killed processes. Other files in the folder stay."""
    forget_job(path)
    shutil.rmtree(path / _STATE, ignore_errors=True)
