"""The type of stored vectors, and a description of what their numbers mean."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_corpora.outputs.others import OtherOutput
from m3e_runtime.outputs import OutputOptions, OutputPrecision
from m3e_runtime.scores import ACTIVATIONS

__all__ = ["EMBEDDING", "SCORE", "SCORES", "VectorSpec", "ranges_to_text"]

EMBEDDING = "embedding"
SCORE, SCORES = "score", "scores"
"""Columns of the outputs of models."""

_MEANINGS = {
    "float32": "components of the vector, without unit",
    "float16": "components of the vector, without unit",
    "int8": "floor((component - minimum) * 255 / (maximum - minimum)) - 128, by dimension; see m3e.ranges",
    "uint8": "floor((component - minimum) * 255 / (maximum - minimum)), by dimension; see m3e.ranges",
    "binary": "eight dimensions a byte, the first in the highest bit, 1 where positive; the byte minus 128",
    "ubinary": "eight dimensions a byte, the first in the highest bit, 1 where positive",
}
_BITS = ("binary", "ubinary")
_TYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int8": "|i1",
    "uint8": "|u1",
    "binary": "|i1",
    "ubinary": "|u1",
}


class VectorSpec(msgspec.Struct, frozen=True):
    """How the model's vectors are converted to stored ones.

    Attributes:
        dimension: number of dimensions that are kept.
        precision: type of the stored numbers.
        normalized: whether vectors have unit length.
        ranges: for int8 and uint8, float32 ``[2, dimension]``, little-endian in base64.
        activation: of a reranker or classifier, the function that makes scores of the logits; None: there
            are vectors.
        others: outputs that are stored beside the vectors, in the order of their columns.
        dense: whether there are vectors of texts. Some models have other outputs only.
    """

    dimension: int
    precision: OutputPrecision
    normalized: bool
    ranges: str | None = None
    activation: str | None = None
    others: tuple[OtherOutput, ...] = ()
    dense: bool = True

    @property
    def column(self) -> str:
        """Name of the column: ``embedding``, ``score``, or ``scores`` of several labels."""
        if self.activation is None:
            return EMBEDDING
        return SCORE if self.is_number else SCORES

    @property
    def is_number(self) -> bool:
        """Whether one number is stored for each row, not a list."""
        return self.activation is not None and self.dimension == 1

    @property
    def length(self) -> int:
        """Numbers in a stored vector."""
        return -(-self.dimension // 8) if self.precision in _BITS else self.dimension

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored number, little-endian."""
        return np.dtype(_TYPES[self.precision])

    @property
    def meaning(self) -> str:
        """What a stored number means."""
        if self.activation is not None:
            return f"{self.activation} of the label's logit"
        return _MEANINGS[self.precision]

    def finish(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Convert the model's vectors or logits, float32 ``[n, d]``, to what is stored, ``[n, length]``."""
        if self.activation is not None:
            scores: npt.NDArray[Any] = ACTIVATIONS[self.activation](vectors).astype(self.dtype)
            return scores
        ranges = None
        if self.ranges is not None:
            data = np.frombuffer(base64.b64decode(self.ranges), dtype="<f4")
            ranges = data.reshape(2, self.dimension)
        return OutputOptions(self.dimension, self.normalized, self.precision, ranges).apply(vectors)


def ranges_to_text(ranges: npt.NDArray[np.float32]) -> str:
    """Serialize ranges for :class:`VectorSpec`."""
    return base64.b64encode(np.ascontiguousarray(ranges, dtype="<f4").tobytes()).decode("ascii")
