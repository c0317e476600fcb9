"""JSON Lines: an object for each row, with the vector added as ``embedding``."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec
import numpy.typing as npt

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """See :class:`m3e_corpora.outputs.sinks.Sink`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder()

    def write(self, beside: Any, vectors: npt.NDArray[Any]) -> None:
        """A line for each row."""
        records = (
            {**fields, "embedding": vector} for fields, vector in zip(beside, vectors.tolist(), strict=True)
        )
        self._stream.write(b"".join(self._encoder.encode(record) + b"\n" for record in records))

    def close(self) -> None:
        """Nothing to complete."""
