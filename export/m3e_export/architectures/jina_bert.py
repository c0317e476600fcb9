"""jina-embeddings-v2 (small-en, base-en, base-zh): BERT with ALiBi and gated layers.

The model_type in ``config.json`` is ``bert``, the code lies on the hub. transformers does not have this
family; its BERT would read such a folder wrongly. See https://arxiv.org/abs/2310.19923. ALiBi's slopes are
those of https://arxiv.org/abs/2108.12409; here they act in both directions.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.gated import Biases, GatedNames, gated_layer, one_row, token_types
from m3e_export.architectures.layers import (
    BERT_NAMES,
    EMBEDDING_NORM,
    WORDS,
    norm_weights,
    type_differences,
)
from m3e_export.architectures.settings import BERT_VARIANTS, Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import Array, TensorLookup, Tensors
from m3e_export.errors import UnsupportedModelError

__all__ = ["slopes", "spec", "weights"]

_ACTIVATIONS = {"geglu": "gelu", "reglu": "relu"}
_VARIANTS: dict[str, tuple[Any, ...]] = {
    **BERT_VARIANTS,
    "position_embedding_type": ("alibi",),
    "feed_forward_type": tuple(_ACTIVATIONS),  # JinaBertConfig's default is "original", which is not gated
}
_NAMES = GatedNames(
    stem=BERT_NAMES.stem,
    qkv=(BERT_NAMES.query, BERT_NAMES.key, BERT_NAMES.value),
    attention_output=BERT_NAMES.attention_output,
    attention_norm=BERT_NAMES.attention_norm,
    intermediate=("mlp.gated_layers",),
    output="mlp.wo",
    output_norm="mlp.layernorm",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the feed-forward part, the kind of positions or a decoder is not supported.
    """
    refuse_variants({"feed_forward_type": "original", **config}, _VARIANTS)
    activation = _ACTIVATIONS[config["feed_forward_type"]]
    found = encoder_spec({**config, "hidden_act": activation}, "jina_bert")
    return dataclasses.replace(found, gated=True, learned_positions=False)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map JinaBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
        UnsupportedModelError: the layers are those of jina-embeddings-v2-base-code.
    """
    lookup = TensorLookup(tensors, WORDS)
    if lookup.has(f"{_NAMES.stem}.0.layer_norm_1.weight"):
        raise UnsupportedModelError(
            "the tensors layer_norm_1 are those of jina-bert-v2-qk-post-norm (jina-embeddings-v2-base-code, "
            "-de, -es), whose layers normalize twice after the attention, and are not supported."
        )
    types = token_types(lookup, config, spec.hidden, 2)
    biases = Biases(intermediate=False)
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(types, spec.hidden),
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, spec.hidden),
        layers=tuple(gated_layer(lookup, spec, _NAMES, biases, index) for index in range(spec.layers)),
        token_type_embeddings=None if types is None else type_differences(types),
        relative_bias=_by_distance(spec),
    )


def _by_distance(spec: EncoderSpec) -> Array:
    """:attr:`EncoderWeights.relative_bias`: minus the distance, times the slope of the head."""
    distances = np.abs(np.arange(1 - spec.max_positions, spec.max_positions)).astype(np.float32)
    return -np.array(slopes(spec.heads), np.float32)[:, None] * distances


def slopes(heads: int) -> list[float]:
    """ALiBi's slope of each head: a geometric sequence that ends at 1/256 if ``heads`` is a power of two.

    Otherwise, the next smaller power's, then every second of the next larger power's.
    """
    below = 1 << (heads.bit_length() - 1)
    start = 2.0 ** -(2.0 ** -(math.log2(below) - 3))
    found = [start ** (1 + head) for head in range(below)]
    return found if below == heads else found + slopes(2 * below)[::2][: heads - below]
