"""Files of passages to encode."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["write_passages", "write_words"]

_BLOCK = 10_000
_LETTERS = 120  # a word longer than WordPiece takes is one unknown token: little to compute for many bytes


def write_passages(file: Path, texts: list[str]) -> Path:
    """JSON Lines with an id and a text."""
    with file.open("w", encoding="utf-8") as stream:
        for number, text in enumerate(texts):
            stream.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    return file


def write_words(file: Path, file_format: str, size: int) -> Path:
    """About ``size`` bytes of passages, no two alike, with few tokens: a tiny model keeps up with reading."""
    blocks = _blocks(size)
    if file_format == "text":
        with file.open("w", encoding="utf-8") as stream:
            for block in blocks:
                stream.writelines(f"{text}\n" for text in block)
        return file
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(
        file, pa.schema({"text": pa.string()}), use_dictionary=False, compression="none"
    ) as out:
        for block in blocks:
            out.write_table(pa.table({"text": block}))
    return file


def _blocks(size: int) -> Iterator[list[str]]:
    random = np.random.default_rng(0)
    written, numbers = 0, itertools.count()
    while written < size:
        words = random.integers(1, 9, _BLOCK)
        block = [" ".join(["q" * _LETTERS] * count) + f" {next(numbers)}" for count in words]
        written += sum(map(len, block)) + len(block)
        yield block
