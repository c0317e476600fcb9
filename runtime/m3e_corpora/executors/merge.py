"""From the parts of a job to one file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from m3e_corpora.arrow import import_arrow
from m3e_corpora.job.job import Job
from m3e_corpora.outputs.sinks.npy import write_npy_header
from m3e_corpora.outputs.sinks.parquet import open_parquet
from m3e_runtime.atomic_file import atomic_file
from m3e_runtime.errors import OutputError

__all__ = ["merge"]


def merge(parts: Sequence[Path], rows: int, job: Job, target: Path) -> None:
    """Join the parts, in order, to the file ``target``; the parts may be gone afterwards.

    Args:
        parts: at least one.
        rows: of all parts together.
        job: tells the format of the parts, which is that of the file.
        target: replaced, if it exists.

    Raises:
        M3EError: it cannot be written.
    """
    if len(parts) == 1:
        try:
            os.replace(parts[0], target)
        except OSError as error:
            raise OutputError.of(target, error) from error
        return
    with atomic_file(target) as stream:
        _MERGERS[job.output](parts, rows, job, stream)


def _npy(parts: Sequence[Path], rows: int, job: Job, stream: BinaryIO) -> None:
    write_npy_header(stream, job.vectors, rows)
    for part in parts:
        with part.open("rb") as source:
            np.lib.format.read_magic(source)
            np.lib.format.read_array_header_1_0(source)
            shutil.copyfileobj(source, stream, 1 << 20)


def _json_lines(parts: Sequence[Path], rows: int, job: Job, stream: BinaryIO) -> None:
    del rows, job
    for part in parts:
        with part.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)


def _parquet(parts: Sequence[Path], rows: int, job: Job, stream: BinaryIO) -> None:
    del rows, job
    parquet = import_arrow("Parquet", "parquet")
    with parts[0].open("rb") as first:  # opened here: pyarrow takes no path that is not UTF-8
        schema = parquet.read_schema(first)
    with open_parquet(stream, schema) as writer:
        for part in parts:
            with part.open("rb") as file, parquet.ParquetFile(file) as source:
                for number in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(number))


_MERGERS: dict[str, Callable[[Sequence[Path], int, Job, BinaryIO], None]] = {
    "npy": _npy,
    "jsonl": _json_lines,
    "parquet": _parquet,
}
