"""GTE: gte-multilingual-base, gte-base/large-en-v1.5, snowflake-arctic-embed-m-v2.0.

BERT with rotary positions and gated layers. A folder on the hub is of model_type ``new`` or ``gte`` and has
the configuration of its own code; transformers 5 writes ``gte``. The names of the tensors are the same.
See https://arxiv.org/abs/2407.19669.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.gated import (
    Biases,
    GatedNames,
    gated_layer,
    one_row,
    rotated_and_gated,
    token_types,
)
from m3e_export.architectures.layers import EMBEDDING_NORM, WORDS, norm_weights, type_differences
from m3e_export.architectures.rotary import frequencies, rope_frequencies, rope_settings, rotary_table
from m3e_export.architectures.settings import Config, encoder_spec, positive_float, refuse_variants
from m3e_export.architectures.tensors import Array, TensorLookup, Tensors

__all__ = ["spec", "weights"]

_PAD = {"new": 0, "gte": 1}  # NewConfig's and GteConfig's
_BASE = {"new": 10_000.0}  # NewConfig's; GteConfig's is 10000 on the hub and 160000 in transformers
_VARIANTS: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("rope", None),
    "layer_norm_type": ("layer_norm", None),
    "logn_attention_scale": (False, None),
}
_BIASES = Biases(intermediate=False)
_JOINT = GatedNames(
    stem="encoder.layer",
    qkv=("attention.qkv_proj",),
    attention_output="attention.o_proj",
    attention_norm="attn_ln",
    intermediate=("mlp.up_gate_proj",),
    output="mlp.down_proj",
    output_norm="mlp_ln",
    factors_first=True,
)
_SEPARATE = dataclasses.replace(_JOINT, qkv=("attention.q_proj", "attention.k_proj", "attention.v_proj"))


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation or a variant is not supported.
    """
    refuse_variants(config, _VARIANTS)
    model_type = str(config["model_type"])
    found = encoder_spec(config, model_type, pad_token_id=_PAD[model_type])
    return rotated_and_gated(found)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map GTE's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
        UnsupportedModelError: the kind of rotation is not supported.
    """
    lookup = TensorLookup(tensors, WORDS)
    types = token_types(lookup, config, spec.hidden, 1)
    separate = lookup.has(f"{_SEPARATE.stem}.0.{_SEPARATE.qkv[0]}.weight")
    names = _SEPARATE if separate else _JOINT
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(types, spec.hidden),
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, spec.hidden),
        layers=tuple(gated_layer(lookup, spec, names, _BIASES, index) for index in range(spec.layers)),
        token_type_embeddings=None if types is None else type_differences(types),
        rotary_tables=rotary_table(_frequencies(config, spec), spec.max_positions)[None],
    )


def _frequencies(config: Config, spec: EncoderSpec) -> Array:
    """The rotation.

    The ``NTKScalingRotaryEmbedding`` of the hub's code scales texts of every length alike:
    https://kexue.fm/archives/9706, equation 6.
    """
    settings = rope_settings(config, _BASE.get(spec.model_type))
    if settings.get("type") != "ntk" and settings.get("rope_type") != "ntk":
        return rope_frequencies(settings, spec.head_size)
    refuse_variants(settings, {"mixed_b": (None,)})
    base, factor = positive_float(settings, "rope_theta"), positive_float(settings, "factor")
    if factor <= 1:  # the code then scales nothing
        return frequencies(base, spec.head_size)
    return frequencies(base * factor, spec.head_size) / np.float32(factor ** (2 / spec.head_size))
