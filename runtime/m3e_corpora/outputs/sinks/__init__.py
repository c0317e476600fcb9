"""Files of vectors, one format each, written window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

import numpy.typing as npt

from m3e_corpora.outputs.sinks.json_lines import JsonLinesSink
from m3e_corpora.outputs.sinks.npy import NpySink
from m3e_corpora.outputs.sinks.parquet import ParquetSink
from m3e_corpora.outputs.vectors import VectorSpec

__all__ = ["Sink", "make_sink"]


class Sink(Protocol):
    """Writes one format to an open file."""

    def write(self, beside: Any, vectors: npt.NDArray[Any]) -> None:
        """Add rows: vectors ``[n, length]``, and what :class:`m3e_corpora.inputs.rows.Rows` has beside."""

    def close(self) -> None:
        """Complete the format. The file stays open."""


def make_sink(
    output: str, stream: BinaryIO, vectors: VectorSpec, schema: str | None, provenance: Mapping[str, str]
) -> Sink:
    """The sink for a format of parts: ``npy``, ``jsonl`` or ``parquet``."""
    if output == "parquet":
        assert schema is not None  # noqa: S101 - every plan for typed columns has one
        return ParquetSink(stream, vectors, schema, provenance)
    return NpySink(stream, vectors) if output == "npy" else JsonLinesSink(stream)
