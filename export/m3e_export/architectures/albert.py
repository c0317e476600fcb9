"""ALBERT: BERT with layers that share weights, and embeddings that may be narrower than the layers."""

from __future__ import annotations

import dataclasses

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import (
    EMBEDDING_NORM,
    POSITIONS,
    TYPES,
    WORDS,
    LayerNames,
    layer_weights,
    linear_weights,
    norm_weights,
    type_differences,
)
from m3e_export.architectures.settings import (
    BERT_VARIANTS,
    MOST_LAYERS,
    Config,
    encoder_spec,
    positive_int,
    refuse_variants,
)
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]

_NAMES = LayerNames(
    stem="encoder.albert_layer_groups",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attention_output="attention.dense",
    attention_norm="attention.LayerNorm",
    intermediate="ffn",
    output="ffn_output",
    output_norm="full_layer_layer_norm",
)
_DEFAULT_EMBEDDING_SIZE = 128  # AlbertConfig's


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the variant is not supported.
    """
    refuse_variants(config, BERT_VARIANTS)
    found = encoder_spec(config, "albert", activation="gelu_new")
    return dataclasses.replace(
        found,
        layers=found.layers * positive_int(config, "inner_group_num", MOST_LAYERS // found.layers, 1),
        embedding_size=positive_int(config, "embedding_size", 1 << 16, _DEFAULT_EMBEDDING_SIZE),
    )


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map ALBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    lookup = TensorLookup(tensors, WORDS)
    width = spec.embedding_size
    names = _layer_names(config, spec)
    stored = {
        name: layer_weights(lookup, spec, _NAMES, name, index)
        for index, name in enumerate(dict.fromkeys(names))
    }
    projection = "encoder.embedding_hidden_mapping_in"
    types = lookup.rows(TYPES, width)
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, width),
        position_embeddings=lookup.get(POSITIONS, spec.max_positions, width) + types[0],
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, width),
        layers=tuple(stored[name] for name in names),
        embedding_projection=linear_weights(lookup, projection, "embedding_projection", width, spec.hidden),
        token_type_embeddings=type_differences(types),
    )


def _layer_names(config: Config, spec: EncoderSpec) -> list[str]:
    """The prefix of each layer's tensors, counted as in transformers' AlbertTransformer.

    The layers are distributed among the groups in order. Each layer of a group is ``inner_group_num`` layers.
    """
    inner = positive_int(config, "inner_group_num", default=1)
    passes = spec.layers // inner
    groups = positive_int(config, "num_hidden_groups", default=1)
    return [
        f"{_NAMES.stem}.{int(number / (passes / groups))}.albert_layers.{part}"
        for number in range(passes)
        for part in range(inner)
    ]
