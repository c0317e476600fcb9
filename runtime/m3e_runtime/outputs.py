"""Operations on float32 vectors: truncation, normalization, quantization, similarity.

Parameter names, ranges and packing follow sentence-transformers' ``quantize_embeddings`` and ``util``, so
stored indexes are interchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import float_array
from m3e_runtime.errors import OptionError

__all__ = [
    "OUTPUT_PRECISIONS",
    "OutputOptions",
    "OutputPrecision",
    "comparable",
    "normalize",
    "quantize_embeddings",
    "similarity",
]

OutputPrecision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
OUTPUT_PRECISIONS: tuple[str, ...] = get_args(OutputPrecision)

_TINY = 1e-12  # torch.nn.functional.normalize's eps

FEW_FOR_RANGES = 100
"""Ranges of fewer vectors cause a warning, as in sentence-transformers."""

Vectors = npt.NDArray[np.float32]


def normalize(vectors: Vectors) -> Vectors:
    """Scale each row of float32 ``[n, d]`` to unit length; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, _TINY)
    return scaled


@dataclass(frozen=True)
class OutputOptions:
    """How an engine's vectors are truncated, then normalized, then quantized.

    The order is that of sentence-transformers. :meth:`m3e_runtime.Encoder.output_options` validates them.

    Attributes:
        truncate_dim: leading dimensions that are kept.
        normalize: scale each vector to unit length.
        precision: see :func:`quantize_embeddings`.
        ranges: see :func:`quantize_embeddings`.
    """

    truncate_dim: int
    normalize: bool = False
    precision: OutputPrecision = "float32"
    ranges: Vectors | None = None

    def apply(self, vectors: Vectors) -> npt.NDArray[Any]:
        """Convert float32 ``[n, d]`` to what :func:`quantize_embeddings` returns."""
        vectors = vectors[:, : self.truncate_dim]
        if self.normalize:
            vectors = normalize(vectors)
        return quantize_embeddings(np.ascontiguousarray(vectors), self.precision, self.ranges)


def quantize_embeddings(
    vectors: Vectors, precision: str, ranges: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[Any]:
    """Store vectors in fewer bits.

    Args:
        vectors: float32 ``[n, d]``.
        precision: ``float16``: halves. ``int8``/``uint8``: 256 steps between the minimum and maximum of
            each dimension. ``binary``/``ubinary``: one bit a dimension, set where the value is positive,
            eight to a byte, the first dimension in the highest bit; ``binary`` subtracts 128.
        ranges: float32 ``[2, d]``, minimum and maximum of each dimension for int8 and uint8. Without it
            they are taken from ``vectors``, and codes of different calls are not comparable. A single vector
            has no range: every vector would have the same codes.

    Returns:
        ``[n, d]`` (float32, float16, int8, uint8) or ``[n, ceil(d / 8)]`` (binary: int8, ubinary: uint8).

    Raises:
        OptionError: unknown precision, ranges of another shape, or one vector without ranges.
    """
    vectors = float_array("vectors", vectors)
    if vectors.ndim not in (1, 2):
        raise OptionError(f"vectors must have shape [n, dimension], not {vectors.shape}.")
    if precision == "float32":
        return vectors
    if precision == "float16":
        return vectors.astype(np.float16)
    if precision in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=-1)
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    if precision in ("int8", "uint8"):
        codes = _scale_to_bytes(vectors, precision, ranges)
        return codes.astype(np.uint8) if precision == "uint8" else (codes - 128).astype(np.int8)
    raise OptionError(f"precision={precision!r} is unknown; use one of {', '.join(OUTPUT_PRECISIONS)}.")


def _scale_to_bytes(vectors: Vectors, precision: str, ranges: Any) -> Vectors:
    if ranges is None and not len(vectors):
        return vectors
    low, high = _own_ranges(vectors, precision) if ranges is None else _given_ranges(vectors, ranges)
    step = (high - low) / 255
    step = np.where(step > 0, step, 1.0)
    codes: Vectors = np.clip(np.floor((vectors - low) / step), 0, 255)
    return codes


def _own_ranges(vectors: Vectors, precision: str) -> Vectors:
    if vectors.ndim == 1 or len(vectors) == 1:
        raise OptionError(
            f"precision={precision!r} of one vector needs ranges, float32 [2, dimension]: the minimum and "
            "maximum of each dimension over many texts like it."
        )
    if len(vectors) < FEW_FOR_RANGES:
        import logging  # here, because it is seldom needed and slow to import

        logging.getLogger(__name__).warning(
            "%s codes are scaled to the ranges of %d vectors; pass ranges of more.", precision, len(vectors)
        )
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def _given_ranges(vectors: Vectors, ranges: Any) -> Vectors:
    given = float_array("ranges", ranges)
    if given.shape != (2, vectors.shape[-1]):
        raise OptionError(f"ranges must have shape (2, {vectors.shape[-1]}), not {given.shape}.")
    if not np.isfinite(given).all():
        raise OptionError("ranges hold NaN or infinity.")
    return given


def comparable(a: Any, b: Any) -> tuple[Vectors, Vectors]:
    """Arguments for :func:`similarity` from vectors ``[d]`` or ``[n, d]`` and ``[d]`` or ``[m, d]``.

    Raises:
        OptionError: they differ in dimension, or are not vectors.
    """
    first, second = (np.atleast_2d(float_array("vectors", each)) for each in (a, b))
    if first.ndim != 2 or second.ndim != 2:
        raise OptionError(
            f"vectors have shape [dimension] or [n, dimension], not {first.shape} and {second.shape}."
        )
    if first.shape[1] != second.shape[1]:
        raise OptionError(
            f"vectors of {first.shape[1]} and of {second.shape[1]} dimensions cannot be compared; "
            "encode both with the same truncate_dim."
        )
    return first, second


def similarity(a: Vectors, b: Vectors, function: str) -> Vectors:
    """Similarity of every row of ``a`` (``[n, d]``) with every row of ``b`` (``[m, d]``), float32 ``[n, m]``.

    ``cosine`` and ``dot`` as named; ``euclidean`` and ``manhattan`` are negated distances.
    """
    if function == "cosine":
        scores = normalize(a) @ normalize(b).T
    elif function == "dot":
        scores = a @ b.T
    elif function == "euclidean":
        squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * (a @ b.T)
        scores = -np.sqrt(np.maximum(squared, 0))
    else:
        scores = np.stack([-np.abs(row - b).sum(axis=1) for row in a]) if len(a) else np.zeros((0, len(b)))
    return scores.astype(np.float32)
