"""NomicBERT: nomic-embed-text v1 and v1.5, CodeRankEmbed. BERT with rotary positions and gated layers.

A folder on the hub has the configuration of its own code, with GPT-2's keys; transformers 5 writes BERT's
keys. Since 2026, nomic-embed-text-v1.5 has both. The names of the tensors are the same.
See https://arxiv.org/abs/2402.01613.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights, LayerWeights
from m3e_export.architectures.gated import (
    Biases,
    GatedNames,
    columns,
    gated_layer,
    one_row,
    rotated_and_gated,
    token_types,
)
from m3e_export.architectures.layers import WORDS, norm_weights, type_differences
from m3e_export.architectures.rotary import (
    frequencies,
    half_split,
    rope_frequencies,
    rope_settings,
    rotary_table,
)
from m3e_export.architectures.settings import (
    ACTIVATION_NAMES,
    Config,
    SizeKeys,
    encoder_spec,
    flag,
    positive_float,
    positive_int,
    refuse_variants,
)
from m3e_export.architectures.tensors import Array, TensorLookup, Tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["spec", "weights"]

logger = logging.getLogger(__name__)

_HUB_KEYS = SizeKeys(
    layers="n_layer",
    hidden="n_embd",
    heads="n_head",
    intermediate="n_inner",
    norm_eps="layer_norm_epsilon",
    positions="n_positions",
)
_BASE = 1000.0  # NomicBertConfig.default_theta of transformers
_HUB_EPS = 1e-5  # GPT2Config's
_TRAINED = 2048  # the hub's NomicBertConfig
_TYPES = 2  # the default of both
# The default of the hub's NomicBertConfig is 1.0 in its first version, and null in later ones. The first one
# rotates as the others do up to the trained length.
_HUB_SCALING = 1.0
_MULTIPLE = 256  # NomciBertGatedMLP rounds its width up to one
# The hub's configuration: the supported values. The first is the default.
_HUB_VARIANTS: dict[str, tuple[Any, ...]] = {
    "prenorm": (False,),
    "causal": (False, None),
    "parallel_block": (False, None),
    "use_rms_norm": (False, None),
    "rotary_emb_scale_base": (None,),
    "rotary_head_dim": (False, None),
    "moe_every_n_layers": (0, None),
    "num_heads_kv": (None,),
    "norm_mlp": (False, None),  # a normalization inside of the feed-forward part
}
# The hub's keys, and those of transformers for the same numbers.
_IN_TRANSFORMERS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
_HUB_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu"}
_NAMES = GatedNames(
    stem="encoder.layers",
    qkv=("attn.Wqkv",),
    attention_output="attn.out_proj",
    attention_norm="norm1",
    intermediate=("mlp.fc12", "mlp.fc11"),
    output="mlp.fc2",
    output_norm="norm2",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    With ``rotary_scaling_factor``, the rotation of a longer text than ``max_trained_positions`` depends on
    the longest text of its batch. Texts then end there, where the rotation is the usual one.

    Raises:
        CheckpointError: a size is missing or invalid, or two keys for the same number differ.
        UnsupportedModelError: the activation or a variant is not supported.
    """
    if not _from_hub(config):
        found = encoder_spec(config, "nomic_bert", activation="silu")
        refuse_variants(config, {"head_dim": (found.head_size, None)})
    else:
        found = _hub_spec(config)
    return rotated_and_gated(found)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map NomicBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
        UnsupportedModelError: the kind of rotation is not supported.
    """
    lookup = TensorLookup(tensors, WORDS)
    of_pairs = _frequencies(config, spec)
    biases = _biases(config)
    types = token_types(lookup, config, spec.hidden, _TYPES)
    layers = [gated_layer(lookup, spec, _NAMES, biases, index) for index in range(spec.layers)]
    if _from_hub(config) and flag(config, "rotary_emb_interleaved", False):
        layers = [_half_split(layer, spec, 2 * len(of_pairs)) for layer in layers]
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=one_row(types, spec.hidden),
        embedding_norm=norm_weights(lookup, "emb_ln", spec.hidden),
        layers=tuple(layers),
        token_type_embeddings=None if types is None else type_differences(types),
        rotary_tables=rotary_table(of_pairs, spec.max_positions)[None],
    )


def _from_hub(config: Config) -> bool:
    """Whether ``config`` is that of the hub's own code."""
    return "n_embd" in config


def _hub_spec(config: Config) -> EncoderSpec:
    refuse_variants(config, {**_HUB_VARIANTS, "activation_function": tuple(_HUB_ACTIVATIONS)})
    activation = _HUB_ACTIVATIONS[config.get("activation_function", "swiglu")]
    vocab_size, width = positive_int(config, "vocab_size"), positive_int(config, "n_embd")
    inner = width * 8 // 3 if config.get("n_inner") is None else positive_int(config, "n_inner")
    made = {
        **config,
        "hidden_act": activation,
        "n_inner": _rounded_up(inner, _MULTIPLE),
        "vocab_size": _rounded_up(vocab_size, positive_int(config, "pad_vocab_size_multiple", default=1)),
    }
    found = encoder_spec(made, "nomic_bert", _HUB_KEYS, norm_eps=_HUB_EPS)
    _check_other_keys(config, found)
    if not config.get("rotary_scaling_factor", _HUB_SCALING):
        return found
    trained = positive_int(config, "max_trained_positions", default=_TRAINED)
    logger.warning(
        "config.json: with rotary_scaling_factor, the vector of a text of more than %d tokens depends on its "
        "batch; that is the longest text.",
        trained,
    )
    return dataclasses.replace(found, max_positions=min(found.max_positions, trained))


def _check_other_keys(config: Config, spec: EncoderSpec) -> None:
    """Check that the keys of transformers, if they are there too, say the same as the hub's.

    Raises:
        CheckpointError: they differ, and it is unclear which ones the weights belong to.
    """
    for key, other in _IN_TRANSFORMERS.items():
        one, two = config.get(key), config.get(other)
        if one is not None and two is not None and one != two:
            raise CheckpointError(
                f"config.json: {key} is {one!r} and {other} is {two!r}; remove one of them."
            )
    act = config.get("hidden_act")
    if act is not None and ACTIVATION_NAMES.get(str(act)) != spec.activation:
        raise CheckpointError(
            f"config.json: activation_function is {config.get('activation_function')!r} and hidden_act is "
            f"{act!r}; remove one of them."
        )


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _biases(config: Config) -> Biases:
    if not _from_hub(config):
        return Biases(False, False, False, False)
    qkv = flag(config, "qkv_proj_bias", True)
    return Biases(qkv, qkv, flag(config, "mlp_fc1_bias", True), flag(config, "mlp_fc2_bias", True))


def _frequencies(config: Config, spec: EncoderSpec) -> Array:
    if not _from_hub(config):
        return rope_frequencies(rope_settings(config, _BASE), spec.head_size)
    fraction = config.get("rotary_emb_fraction", 0.0)
    dimensions = spec.head_size * fraction if isinstance(fraction, (int, float)) else 0
    if not 2 <= dimensions <= spec.head_size or dimensions % 2:
        raise UnsupportedModelError(
            f"config.json: rotary_emb_fraction {fraction!r} is not supported; an even number of the "
            f"{spec.head_size} columns of a head must rotate."
        )
    # No default: that of the hub's NomicBertConfig is 1000 in its first version, and 10000 in later ones.
    found = frequencies(positive_float(config, "rotary_emb_base"), int(dimensions))
    if config.get("rope_parameters") is not None:
        other = rope_frequencies(rope_settings(config, _BASE), spec.head_size)
        if not np.array_equal(found, other):
            raise CheckpointError(
                f"config.json: rotary_emb_base is {config['rotary_emb_base']!r} and rope_parameters is "
                f"{config['rope_parameters']!r}; remove one of them."
            )
    return found


def _half_split(layer: LayerWeights, spec: EncoderSpec, dimensions: int) -> LayerWeights:
    """``layer`` with the rotated pairs of queries and keys in the order of :class:`EncoderWeights`."""
    turned = half_split(2 * spec.heads, spec.head_size, dimensions)
    values = np.arange(2 * spec.hidden, 3 * spec.hidden)
    return dataclasses.replace(layer, qkv=columns(layer.qkv, np.concatenate([turned, values])))
