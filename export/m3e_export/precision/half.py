"""Finding what fp16 cannot hold: numbers beyond 65504 become infinite, and vectors NaN."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import EncoderWeights, LayerWeights, Linear
from m3e_export.checkpoint import Checkpoint
from m3e_export.inputs import ModelInputs
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.embeddings import FloatEmbeddings
from m3e_export.precision.plan import PrecisionPlan

__all__ = [
    "LARGEST_HALF",
    "POSITIONS",
    "PROJECTION",
    "WORDS",
    "overflowing",
    "rounded_to_bfloat16",
    "too_large",
    "widened",
]

LARGEST_HALF = float(np.finfo(np.float16).max)
WORDS, POSITIONS, PROJECTION = "word_embeddings", "position_embeddings", "embedding_projection"

_ROOM = LARGEST_HALF / 2
"""The largest activation allowed in fp16: other texts may have larger ones, and the residual is added."""

Array = npt.NDArray[np.float32]


def widened(plan: PrecisionPlan, names: frozenset[str]) -> PrecisionPlan:
    """``plan`` with ``names`` in float32. int8 matrices stay int8, and are computed with in float32."""
    floats = isinstance(plan.embeddings, FloatEmbeddings)
    table = FloatEmbeddings() if floats and WORDS in names else plan.embeddings
    wide = plan.wide | (names if floats else names - {WORDS})
    return dataclasses.replace(plan, wide=wide, embeddings=table)


def too_large(weights: EncoderWeights) -> frozenset[str]:
    """The matrices and tables with a weight that half precision cannot hold."""
    return frozenset(name for name, array in _stored(weights) if np.abs(array).max() > LARGEST_HALF)


def _stored(weights: EncoderWeights) -> Iterator[tuple[str, Array]]:
    yield WORDS, weights.word_embeddings
    yield POSITIONS, weights.position_embeddings
    for linear in weights.linears():
        yield linear.name, linear.weight


def overflowing(checkpoint: Checkpoint, inputs: ModelInputs, tick: Callable[[int], object]) -> frozenset[str]:
    """The matrices and tables whose inputs or outputs overflow in half precision on one of ``inputs``.

    ``tick`` is called with 1 after each text.
    """
    watching = _Watching(checkpoint)
    for place in range(len(inputs)):
        watching.look_at(inputs.at([place]))
        tick(1)
    return frozenset(watching.found)


def rounded_to_bfloat16(halves: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
    """``halves``, finite, rounded to the nearest numbers that bfloat16 holds too, ties to even."""
    bits = halves.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    largest = np.float32(65280)  # bfloat16 has no number between this and 65504
    return np.clip(rounded.astype(np.uint32).view(np.float32), -largest, largest).astype(np.float16)


class _Watching(NumpyForward):
    """The encoder in float32; it records what would overflow in fp16."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint.spec, checkpoint.weights)
        self.found: set[str] = set()

    def look_at(self, inputs: ModelInputs) -> None:
        """Compute one text or pair."""
        weights = self._weights
        if _is_large(self.summed(inputs.ids, inputs.types)):
            self.found.add(WORDS)
        after = [PROJECTION if weights.embedding_projection else WORDS]
        after += [layer.output.name for layer in weights.layers]
        before = [layer.qkv.name for layer in weights.layers]
        for place, states in enumerate(self.packed_states(inputs.ids, inputs.types)):
            if _is_large(states):  # between two layers: both need float32
                self.found.update(after[place : place + 1] + before[place : place + 1])

    def _residual_sum(self, layer: LayerWeights, x: Array, y: Array) -> Array:
        """Nothing normalizes these sums from layer to layer if normalization comes first: they may grow."""
        total = super()._residual_sum(layer, x, y)
        if self._spec.norm_first and _is_large(total):
            self.found.update(linear.name for linear in layer.linears())
        return total

    def _linear(self, linear: Linear, x: Array) -> Array:
        y = super()._linear(linear, x)
        if _is_large(x) or _is_large(y) or (linear.name.endswith("qkv") and self._scores_are_large(y)):
            self.found.add(linear.name)
        return y

    def _scores_are_large(self, qkv: Array) -> bool:
        """Whether scores may overflow, bounded by the lengths of queries and keys."""
        spec = self._spec
        parts = qkv.reshape(len(qkv), 3, spec.heads, spec.head_size)
        query, key = (np.linalg.norm(parts[:, part], axis=-1).max(axis=0) for part in (0, 1))
        return bool((query * key).max() / math.sqrt(spec.head_size) > _ROOM)


def _is_large(values: Array) -> bool:
    return bool(np.abs(values).max() > _ROOM)
