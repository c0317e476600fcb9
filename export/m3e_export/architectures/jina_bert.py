"""jina-embeddings-v2: BERT with ALiBi and gated layers.

There are two layouts on the hub. In the later one, jina-bert-v2-qk-post-norm (base-code, -de, -es), queries
and keys are normalized, and after the attention the layer's input is added and normalized once more.

The model_type in ``config.json`` is ``bert``, the code lies on the hub. transformers does not have this
family; its BERT would read such a folder wrongly. See https://arxiv.org/abs/2310.19923. ALiBi's slopes are
those of https://arxiv.org/abs/2108.12409; here they act in both directions.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights, LayerWeights, Norm
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

__all__ = ["slopes", "spec", "weights"]

_BIASES = Biases(intermediate=False)
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
_LATER = dataclasses.replace(
    _NAMES,
    intermediate=("mlp.up_gated_layer",),
    output="mlp.down_layer",
    output_norm="layer_norm_2",
    factors_first=True,
)
_SECOND_NORM = "layer_norm_1"


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
    """
    lookup = TensorLookup(tensors, WORDS)
    later = lookup.has(f"{_LATER.stem}.0.{_SECOND_NORM}.weight")
    types = token_types(lookup, config, spec.hidden, 2)
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(types, spec.hidden),
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, spec.hidden),
        layers=tuple(
            _later_layer(lookup, spec, index) if later else gated_layer(lookup, spec, _NAMES, _BIASES, index)
            for index in range(spec.layers)
        ),
        token_type_embeddings=None if types is None else type_differences(types),
        relative_bias=_by_distance(spec),
    )


def _later_layer(lookup: TensorLookup, spec: EncoderSpec, index: int) -> LayerWeights:
    base = f"{_LATER.stem}.{index}"

    def norm(name: str) -> Norm:
        return norm_weights(lookup, f"{base}.{name}", spec.hidden)

    return dataclasses.replace(
        gated_layer(lookup, spec, _LATER, _BIASES, index),
        query_norm=norm("attention.self.layer_norm_q"),
        key_norm=norm("attention.self.layer_norm_k"),
        second_norm=norm(_SECOND_NORM),
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
