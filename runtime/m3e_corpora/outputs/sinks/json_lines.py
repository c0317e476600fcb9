"""JSON Lines: an object for each row, with the vector in the field ``embedding``, or its score."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec
import numpy.typing as npt

from m3e_corpora.inputs.rows import Payload
from m3e_corpora.outputs.others import NO_OTHERS, Others
from m3e_corpora.outputs.payload import Records
from m3e_corpora.outputs.vectors import VectorSpec

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """See :class:`m3e_corpora.outputs.sinks.Sink`."""

    def __init__(self, stream: BinaryIO, vectors: VectorSpec) -> None:
        self._stream = stream
        self._vectors = vectors
        self._encoder = msgspec.json.Encoder()

    def write(self, payload: Payload, vectors: npt.NDArray[Any], others: Others = NO_OTHERS) -> None:
        """Write a line for each row."""
        assert isinstance(payload, Records)  # noqa: S101 - the form of this format
        if self._vectors.is_number:
            vectors = vectors[:, 0]
        objects = (
            {**fields, **({self._vectors.column: vector} if self._vectors.dense else {}), **record}
            for fields, vector, record in zip(
                payload.objects, vectors.tolist(), others.records(len(vectors)), strict=True
            )
        )
        self._stream.write(b"".join(self._encoder.encode(each) + b"\n" for each in objects))

    def close(self) -> None:
        """Do nothing: every line is complete."""
