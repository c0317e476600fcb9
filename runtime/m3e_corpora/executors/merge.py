"""Merging of the parts of a job into one file."""

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


def merge(parts: Sequence[Path], rows: int, job: Job, file: Path) -> None:
    """Merge the parts, in order, into ``file``. A single part is moved.

    Args:
        parts: the parts, at least one.
        rows: number of rows in all parts.
        job: has the format of the parts, which is that of the file.
        file: the output; an existing file is replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    if len(parts) == 1:
        try:
            os.replace(parts[0], file)
        except OSError as error:
            raise OutputError.of(file, error) from error
        return
    with atomic_file(file) as stream:
        _MERGERS[job.part_format](parts, rows, job, stream)


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
    with parts[0].open("rb") as first:  # opened here because pyarrow takes only UTF-8 paths
        schema = parquet.read_schema(first)
    with open_parquet(stream, schema) as writer:
        for part in parts:
            with part.open("rb") as opened, parquet.ParquetFile(opened) as source:
                for number in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(number))


_MERGERS: dict[str, Callable[[Sequence[Path], int, Job, BinaryIO], None]] = {
    "npy": _npy,
    "jsonl": _json_lines,
    "parquet": _parquet,
}
