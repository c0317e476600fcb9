"""EuroBERT: an encoder of Llama's parts, with fewer heads of keys and values than of queries.

See https://arxiv.org/abs/2503.05500.
"""

from __future__ import annotations

import dataclasses

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.gated import Biases, GatedNames, gated_layer, one_row, rotated_and_gated
from m3e_export.architectures.layers import norm_weights
from m3e_export.architectures.rotary import rope_frequencies, rope_settings, rotary_table
from m3e_export.architectures.settings import (
    Config,
    SizeKeys,
    encoder_spec,
    flag,
    positive_int,
    refuse_variants,
)
from m3e_export.architectures.tensors import TensorLookup, Tensors
from m3e_export.errors import CheckpointError

__all__ = ["spec", "weights"]

_WORDS = "embed_tokens.weight"
_KEYS = SizeKeys(norm_eps="rms_norm_eps")
_EPS, _PAD = 1e-5, 128_001  # EuroBertConfig's
_NAMES = GatedNames(
    stem="layers",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    attention_output="self_attn.o_proj",
    attention_norm="input_layernorm",
    intermediate=("mlp.gate_proj", "mlp.up_proj"),
    output="mlp.down_proj",
    output_norm="post_attention_layernorm",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation or the size of a head is not supported.
    """
    found = encoder_spec(config, "eurobert", _KEYS, activation="silu", pad_token_id=_PAD, norm_eps=_EPS)
    refuse_variants(config, {"head_dim": (found.head_size, None)})
    return dataclasses.replace(rotated_and_gated(found), norm_kind="rms", norm_first=True)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map EuroBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
        UnsupportedModelError: the scaling of the rotation is not supported.
    """
    lookup = TensorLookup(tensors, _WORDS)
    attention, mlp = flag(config, "attention_bias", False), flag(config, "mlp_bias", False)
    biases = Biases(attention, attention, mlp, mlp, norms=False)
    # Without a base, EuroBertConfig takes 250000 on the hub and 10000 in transformers.
    of_pairs = rope_frequencies(rope_settings(config), spec.head_size)
    groups = _key_value_heads(config, spec)
    layers = [
        gated_layer(lookup, spec, _NAMES, biases, index, key_value_heads=groups)
        for index in range(spec.layers)
    ]
    return EncoderWeights(
        word_embeddings=lookup.get(_WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(None, spec.hidden),
        embedding_norm=None,
        layers=tuple(layers),
        rotary_tables=rotary_table(of_pairs, spec.max_positions)[None],
        final_norm=norm_weights(lookup, "norm", spec.hidden, bias=False),
    )


def _key_value_heads(config: Config, spec: EncoderSpec) -> int:
    found = config.get("num_key_value_heads")
    count = spec.heads if found is None else positive_int(config, "num_key_value_heads", spec.heads)
    if spec.heads % count:
        raise CheckpointError(
            f"config.json: num_key_value_heads is {count}; a divisor of {spec.heads} heads was expected."
        )
    return count
