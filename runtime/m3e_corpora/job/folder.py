"""An output under way: a folder of parts, each there whole or not at all, and what is known of each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from m3e_corpora.inputs.rows import BadRow
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.job import Job
from m3e_corpora.job.lock import locked
from m3e_corpora.job.partition import Plan
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.atomic_file import TEMPORARY_PREFIX, atomic_file
from m3e_runtime.errors import OutputError, ResumeError
from m3e_runtime.file_names import shown

__all__ = ["JobFolder", "PartRecord", "forget_job", "is_free", "lock_folder", "remove_job"]

_STATE = "_m3e"  # readers of Parquet folders pass over names that begin with _ or .
_JOB = "job.json"
_COMPLETE = "_SUCCESS"
_RECORDS = "parts"
_REJECTED = "rejected.jsonl"


class PartRecord(msgspec.Struct, frozen=True):
    """A partition that is done: the size of its part in bytes, what became of its rows, and the bad ones."""

    partition: int
    size: int
    counts: Counts
    bad: tuple[BadRow, ...]


class _Stored(msgspec.Struct, frozen=True):
    job: Job
    plan: Plan


class JobFolder:
    """The folder of a job. Any number of processes may write parts; one at a time begins and completes it."""

    def __init__(self, path: Path, job: Job, plan: Plan) -> None:
        self.path = path
        self.job = job
        self.plan = plan

    @staticmethod
    def begin(path: Path, job: Job, plan: Plan) -> JobFolder:
        """Write down what is going to be done, in a folder that is locked.

        Raises:
            M3EError: it cannot be written.
        """
        with atomic_file(path / _STATE / _JOB) as stream:
            stream.write(to_json(_Stored(job, plan), indent=1) + b"\n")
        return JobFolder(path, job, plan)

    @staticmethod
    def open(path: Path) -> JobFolder:
        """Read what was begun.

        Raises:
            ResumeError: there is no job, or one that this version does not understand.
        """
        file = path / _STATE / _JOB
        try:
            stored = from_json(file.read_bytes(), _Stored)
        except OSError as error:
            raise ResumeError(f"{path}: no job was begun there ({error.strerror}).") from error
        except ValueError as error:
            raise ResumeError(
                f"{file}: not a job of this version ({error}); begin anew with --force."
            ) from error
        return JobFolder(path, stored.job, stored.plan)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a job was begun in the folder."""
        return (path / _STATE / _JOB).is_file()

    def check_same(self, job: Job) -> None:
        """Make sure that ``job`` is the one that was begun.

        Raises:
            ResumeError: it is another; the message says in what.
        """
        differences = list(_differences(msgspec.to_builtins(self.job), msgspec.to_builtins(job)))
        if differences:
            raise ResumeError(
                f"{self.path}: was begun differently: {'; '.join(differences[:3])}. Give the same input and "
                "options, or begin anew with --force."
            )

    def done(self) -> dict[int, PartRecord]:
        """The partitions that are done: the record is there, and the part has its size."""
        records = {}
        for file in (self.path / _STATE / _RECORDS).glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                record = from_json(file.read_bytes(), PartRecord)
                if self.part(record.partition).stat().st_size == record.size:
                    records[record.partition] = record
        return records

    def part(self, number: int) -> Path:
        """The file of a partition's vectors."""
        width = max(5, len(str(len(self.plan.partitions) - 1)))
        return self.path / f"part-{number:0{width}}.{self.job.output}"

    def new_part(self, number: int) -> AbstractContextManager[BinaryIO]:
        """A file to write a part to; see :func:`m3e_runtime.atomic_file.atomic_file`."""
        return atomic_file(self.part(number))

    def record(self, number: int, counts: Counts, bad: list[BadRow]) -> PartRecord:
        """Mark a partition as done, once its part is in place.

        Raises:
            M3EError: it cannot be written.
        """
        record = PartRecord(number, self.part(number).stat().st_size, counts, tuple(bad))
        with atomic_file(self.path / _STATE / _RECORDS / f"{number}.json") as stream:
            stream.write(to_json(record, indent=1) + b"\n")
        return record

    def complete(self) -> None:
        """Mark the folder as complete, as Hadoop and Spark do.

        Raises:
            M3EError: it cannot be written.
        """
        with atomic_file(self.path / _COMPLETE):
            pass

    def clean(self) -> None:
        """Remove what killed processes left half-written; to be called when none is writing."""
        for folder in (self.path, self.path / _STATE, self.path / _STATE / _RECORDS):
            for file in folder.glob(f"{TEMPORARY_PREFIX}*"):
                file.unlink(missing_ok=True)

    def write_rejected(self, file: Path) -> None:
        """Write the bad rows of all partitions as JSON Lines; no file where there are none.

        Raises:
            M3EError: it cannot be written.
        """
        file.unlink(missing_ok=True)
        records = self.done()
        bad = [row for number in sorted(records) for row in records[number].bad]
        if bad:
            with atomic_file(file) as stream:
                stream.writelines(msgspec.json.encode(row) + b"\n" for row in bad)

    @property
    def rejected(self) -> Path:
        """Where a complete folder tells its bad rows."""
        return self.path / _STATE / _REJECTED


def is_free(path: Path) -> bool:
    """Whether a job can begin in the folder: it is empty, or a job died before it began."""
    return path.is_dir() and all(each.name == _STATE for each in path.iterdir())


@contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Make the folder of a job, and keep others from beginning or completing one there.

    Raises:
        ResumeError: another process does.
        OutputError: it cannot be made. Nothing of it is left.
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


def forget_job(path: Path) -> None:
    """Remove a job with its parts, so that another can begin in the folder, which stays locked."""
    for pattern in (
        "part-*",
        f"{TEMPORARY_PREFIX}*",
        _COMPLETE,
        f"{_STATE}/*.json*",
        f"{_STATE}/{_RECORDS}/*",
    ):
        for file in path.glob(pattern):
            file.unlink()


def remove_job(path: Path) -> None:
    """Remove a job with its parts, and all that a killed process left of it; only other files stay."""
    forget_job(path)
    shutil.rmtree(path / _STATE, ignore_errors=True)


def _differences(begun: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """What differs, in words."""
    for name in dict.fromkeys((*begun, *asked)):
        before, now = begun.get(name), asked.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{above}{name}.")
        elif name == "inputs":
            yield from _changed_inputs(begun[name], asked[name])
        elif before != now:
            yield f"{above}{name} was {before!r} and is {now!r}"


def _changed_inputs(begun: list[dict[str, Any]], asked: list[dict[str, Any]]) -> Iterator[str]:
    if len(begun) != len(asked):
        yield f"there were {len(begun)} input files and are {len(asked)}"
    for before, now in zip(begun, asked, strict=False):
        if before != now:
            what = "has changed" if before["path"] == now["path"] else f"is {now['path']} now"
            yield shown(f"the input {before['path']} {what}")
