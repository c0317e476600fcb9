"""Writers of vectors, one module for each format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

import numpy.typing as npt

from m3e_corpora.inputs.rows import Payload
from m3e_corpora.outputs.others import NO_OTHERS, Others
from m3e_corpora.outputs.sinks.json_lines import JsonLinesSink
from m3e_corpora.outputs.sinks.npy import NpySink
from m3e_corpora.outputs.sinks.parquet import ParquetSink
from m3e_corpora.outputs.vectors import VectorSpec

__all__ = ["Sink", "make_sink"]


class Sink(Protocol):
    """Writes one format to an open file."""

    def write(self, payload: Payload, vectors: npt.NDArray[Any], others: Others = NO_OTHERS) -> None:
        """Append rows: vectors ``[n, length]``, and the payload and the other outputs of each."""

    def close(self) -> None:
        """Complete the format. The file stays open."""


def make_sink(
    part_format: str, stream: BinaryIO, vectors: VectorSpec, schema: str | None, provenance: Mapping[str, str]
) -> Sink:
    """Make the sink for a format of parts.

    Args:
        part_format: ``npy``, ``jsonl`` or ``parquet``.
        stream: the file to write to.
        vectors: what the vectors are.
        schema: Arrow schema of the payload, for Parquet.
        provenance: metadata for Parquet.
    """
    if part_format == "parquet":
        assert schema is not None  # noqa: S101 - a job with typed columns always has one
        return ParquetSink(stream, vectors, schema, provenance)
    return NpySink(stream, vectors) if part_format == "npy" else JsonLinesSink(stream, vectors)
