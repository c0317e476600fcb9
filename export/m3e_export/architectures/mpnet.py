"""MPNet: all-mpnet-base-v2, paraphrase-mpnet-base-v2. BERT with a bias of attention for each distance.

Positions are counted as in RoBERTa, from a padding id of 1 whatever the config says, and there are no token
types. To the scaled scores every layer adds what one table says of the distance from query to key.
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
_BUCKETS = 32  # MPNetEncoder.compute_position_bias asks for so many, whatever the config says
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
    """Sizes from ``config.json``; the position table is longer than the longest text.

    Raises:
        CheckpointError: a size is missing or impossible.
        UnsupportedModelError: an activation that is not known, another padding id than 1 or number of buckets
            than 32.
    """
    refuse_variants(config, _VARIANTS)
    return encoder_spec(config, "mpnet", pad_token_id=_PAD, positions_after_padding=True)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map MPNet's tensor names, and spread its biases out.

    Raises:
        CheckpointError: a tensor is missing, of another shape than the config says, or not finite.
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
    """The row of the table for each distance, key's place minus query's.

    ``relative_position_bucket`` in transformers' MPNet, which is T5's (https://arxiv.org/abs/1910.10683,
    section 2.1): keys behind the query have the second half of the buckets; in each half distances below 8
    have one each, and all others share the other 8 by their logarithm: ``8 + ⌊8 · log₁₆(n / 8)⌋``, 15 from
    128 on.
    """
    n = np.abs(distance)
    shared = _EXACT + np.log2(np.maximum(n, _EXACT) ** 2 / _EXACT**2).astype(np.int64)
    half = _BUCKETS // 2
    return np.where(distance > 0, half, 0) + np.where(n < _EXACT, n, np.minimum(shared, half - 1))
