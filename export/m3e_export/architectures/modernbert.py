"""ModernBERT: gte-modernbert-base, granite-embedding r2, modernbert-embed.

Normalization precedes each part of a layer, and the first layer has none before its attention. Most layers
see a window only, and rotate with another base than the others. See https://arxiv.org/abs/2412.13663.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights, LayerAttention, LayerWeights
from m3e_export.architectures.gated import Biases, GatedNames, gated_layer, one_row
from m3e_export.architectures.layers import norm_weights
from m3e_export.architectures.rotary import rope_frequencies, rotary_table
from m3e_export.architectures.settings import (
    Config,
    SizeKeys,
    encoder_spec,
    flag,
    positive_int,
)
from m3e_export.architectures.tensors import Array, TensorLookup, Tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["spec", "weights"]

_WORDS = "embeddings.tok_embeddings.weight"
_KEYS = SizeKeys(activation="hidden_activation", norm_eps="norm_eps")
_EPS, _PAD, _WINDOW, _EVERY = 1e-5, 50283, 128, 3  # ModernBertConfig's

Kind = Literal["full_attention", "sliding_attention"]

_KINDS: tuple[Kind, ...] = ("full_attention", "sliding_attention")
_BASES: dict[Kind, tuple[str, float]] = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}
"""The older key of each kind's base, and the default of ModernBertConfig."""

_NAMES = GatedNames(
    stem="layers",
    qkv=("attn.Wqkv",),
    attention_output="attn.Wo",
    attention_norm="attn_norm",
    intermediate=("mlp.Wi",),
    output="mlp.Wo",
    output_norm="mlp_norm",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``, as older and newer versions of transformers write it.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation or a kind of layer is not supported.
    """
    found = encoder_spec(config, "modernbert", _KEYS, pad_token_id=_PAD, norm_eps=_EPS)
    reach = positive_int(config, "local_attention", found.max_positions * 2, _WINDOW) // 2
    kinds = _layer_kinds(config, found.layers)
    return dataclasses.replace(
        found,
        norm_first=True,
        gated=True,
        learned_positions=False,
        attention=tuple(_attention(kind, reach, _tables(kinds)) for kind in kinds),
    )


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map ModernBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
        UnsupportedModelError: the scaling of a rotation is not supported.
    """
    lookup = TensorLookup(tensors, _WORDS)
    attention, mlp = flag(config, "attention_bias", False), flag(config, "mlp_bias", False)
    norms = flag(config, "norm_bias", False)
    biases = Biases(attention, attention, mlp, mlp, norms)
    return EncoderWeights(
        word_embeddings=lookup.get(_WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(None, spec.hidden),
        embedding_norm=norm_weights(lookup, "embeddings.norm", spec.hidden, norms),
        layers=tuple(_layer(lookup, spec, biases, index) for index in range(spec.layers)),
        rotary_tables=np.stack(
            [
                rotary_table(_frequencies(config, kind, spec.head_size), spec.max_positions)
                for kind in _tables(_layer_kinds(config, spec.layers))
            ]
        ),
        final_norm=norm_weights(lookup, "final_norm", spec.hidden, norms),
    )


def _layer(lookup: TensorLookup, spec: EncoderSpec, biases: Biases, index: int) -> LayerWeights:
    return gated_layer(lookup, spec, _NAMES, biases, index, normalized=index > 0)


def _layer_kinds(config: Config, layers: int) -> tuple[Kind, ...]:
    """``layer_types``, or what ``global_attn_every_n_layers`` of older files says."""
    listed = config.get("layer_types")
    if listed is None:
        every = positive_int(config, "global_attn_every_n_layers", default=_EVERY)
        return tuple(_KINDS[bool(index % every)] for index in range(layers))
    if not isinstance(listed, list) or len(listed) != layers:
        raise CheckpointError(f"config.json: layer_types is {listed!r}; {layers} kinds were expected.")
    for kind in listed:
        if kind not in _KINDS:
            raise UnsupportedModelError(
                f"config.json: layer_types {kind!r} is not supported; known: {', '.join(_KINDS)}."
            )
    return tuple(listed)


def _tables(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """The kinds that have a rotary table, in its order."""
    return tuple(kind for kind in _KINDS if kind in kinds)


def _attention(kind: Kind, reach: int, tables: tuple[Kind, ...]) -> LayerAttention:
    table = tables.index(kind)
    return LayerAttention(reach, reach, table) if kind == _KINDS[1] else LayerAttention(rotary=table)


def _frequencies(config: Config, kind: Kind, dimensions: int) -> Array:
    """The rotation of ``kind``, as ``ModernBertConfig.convert_rope_params_to_dict`` finds it."""
    of_kinds = config.get("rope_parameters") or {}
    found: Any = (of_kinds.get(kind) or {}) if isinstance(of_kinds, Mapping) else of_kinds
    scaling = config.get("rope_scaling") or {}
    if not isinstance(found, Mapping) or not isinstance(scaling, Mapping):
        raise CheckpointError(f"config.json: rope_parameters is {of_kinds!r}; an object was expected.")
    key, default = _BASES[kind]
    return rope_frequencies({"rope_theta": config.get(key, default), **found, **scaling}, dimensions)
