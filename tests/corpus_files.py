"""Files of texts in every format, and what an encoding wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

__all__ = [
    "files_of",
    "read_json_lines",
    "read_vectors",
    "write_csv",
    "write_json_lines",
    "write_parquet",
    "write_text",
]


def write_text(file: Path, texts: Iterable[str]) -> Path:
    """One text a line."""
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="")
    return file


def write_json_lines(file: Path, objects: Iterable[Any]) -> Path:
    """One object a line."""
    return write_text(file, [json.dumps(each, ensure_ascii=False) for each in objects])


def write_parquet(file: Path, columns: dict[str, Any], **options: Any) -> Path:
    """A table of ``columns``."""
    pq.write_table(pa.table(columns), file, **options)
    return file


def write_csv(file: Path, rows: Iterable[Sequence[str]], delimiter: str = ",", end: str = "\n") -> Path:
    """Every field quoted, quotes doubled."""
    lines = [delimiter.join('"' + field.replace('"', '""') + '"' for field in row) + end for row in rows]
    file.write_text("".join(lines), encoding="utf-8", newline="")
    return file


def read_vectors(path: Path) -> np.ndarray:
    """The vectors of a Parquet file or folder, ``[n, length]``."""
    column = ds.dataset(path).to_table()["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def read_json_lines(file: Path) -> list[Any]:
    """The objects of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def files_of(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files below ``folder``."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
