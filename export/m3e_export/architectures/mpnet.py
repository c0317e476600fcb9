"""MPNet: all-mpnet-base-v2, paraphrase-mpnet-base-v2. BERT with relative positions.

Positions are counted as in RoBERTa, with a padding id of 1 in every checkpoint, and there are no token types.
Every layer adds the same bias to the scaled scores, which depends on the distance from query to key.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import POSITIONS, WORDS, LayerNames, encoder_weights
from m3e_export.architectures.settings import Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import Array, TensorLookup, Tensors

__all__ = ["spec", "weights"]

_PAD = 1  # MPNetEmbeddings.padding_idx
_BUCKETS = 32  # fixed in MPNetEncoder.compute_position_bias
_EXACT = 8  # distances below have a bucket each
_VARIANTS: dict[str, tuple[Any, ...]] = {
    "pad_token_id": (_PAD, None),
    "relative_attention_num_buckets": (_BUCKETS,),
}
_NAMES = LayerNames(
    stem="encoder.layer",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    attention_norm="attention.LayerNorm",
    intermediate="intermediate.dense",
    output="output.dense",
    output_norm="output.LayerNorm",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``. The position table has rows that no text uses.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation, the padding id or the number of buckets is not supported.
    """
    refuse_variants(config, _VARIANTS)
    return encoder_spec(config, "mpnet", pad_token_id=_PAD, positions_after_padding=True)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map MPNet's tensor names, and expand its biases to one for each distance.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    del config
    lookup = TensorLookup(tensors, WORDS)
    positions = lookup.get(POSITIONS, _PAD + 1 + spec.max_positions, spec.hidden)[_PAD:]
    biases = lookup.get("encoder.relative_attention_bias.weight", _BUCKETS, spec.heads)
    return dataclasses.replace(
        encoder_weights(lookup, spec, _NAMES, positions), relative_bias=_by_distance(biases, spec)
    )


def _by_distance(biases: Array, spec: EncoderSpec) -> Array:
    """``[buckets, heads]`` → :attr:`EncoderWeights.relative_bias`."""
    return np.ascontiguousarray(biases[_bucket(np.arange(1 - spec.max_positions, spec.max_positions))].T)


def _bucket(distance: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The row of the table for each distance, the key's place minus the query's.

    This is ``relative_position_bucket`` of transformers' MPNet, and T5's (https://arxiv.org/abs/1910.10683,
    section 2.1). Keys after the query use the second half of the buckets. In each half, distances below 8
    have a bucket each; longer ones share the other 8 by logarithm: ``8 + ⌊8 · log₁₆(n / 8)⌋``, at most 15.
    """
    n = np.abs(distance)
    shared = _EXACT + np.log2(np.maximum(n, _EXACT) ** 2 / _EXACT**2).astype(np.int64)
    half = _BUCKETS // 2
    return np.where(distance > 0, half, 0) + np.where(n < _EXACT, n, np.minimum(shared, half - 1))
