"""Reading sizes and variants from ``config.json``, with checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3e_export.architectures.encoder import Activation, EncoderSpec
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = [
    "ACTIVATION_NAMES",
    "BERT_VARIANTS",
    "MOST_LAYERS",
    "Config",
    "SizeKeys",
    "encoder_spec",
    "flag",
    "positive_float",
    "positive_int",
    "refuse_variants",
]

Config = Mapping[str, Any]

BERT_VARIANTS: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),  # transformers takes null for absolute
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
"""The supported values of BERT's settings. The first value is the default."""

ACTIVATION_NAMES: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""The activations by their names in transformers."""

MOST_LAYERS = 1024  # the limit of the native engine
_DEFAULT_EPS = 1e-12  # the default of BertConfig and others; fixed in DistilBertModel


@dataclass(frozen=True)
class SizeKeys:
    """The keys of a family's sizes in config.json. ``norm_eps`` is None if it is not a setting."""

    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    intermediate: str = "intermediate_size"
    activation: str = "hidden_act"
    norm_eps: str | None = "layer_norm_eps"
    positions: str = "max_position_embeddings"


_BERT_KEYS = SizeKeys()


def encoder_spec(
    config: Config,
    model_type: str,
    keys: SizeKeys = _BERT_KEYS,
    *,
    activation: str = "gelu",
    pad_token_id: int = 0,
    positions_after_padding: bool = False,
    norm_eps: float = _DEFAULT_EPS,
) -> EncoderSpec:
    """Sizes of an encoder.

    Args:
        config: the content of config.json.
        model_type: the family.
        keys: the family's keys.
        activation: the default of the family's configuration class.
        pad_token_id: the default of the family's configuration class.
        positions_after_padding: whether the first token uses the row after the padding id, and padding in a
            text the row of its id.
        norm_eps: the default of the family's configuration class.

    Raises:
        CheckpointError: a size is missing, invalid, or does not fit the others.
        UnsupportedModelError: the activation is not supported.
    """
    vocab_size = positive_int(config, "vocab_size")
    pad = _padding_id(config, vocab_size, pad_token_id)
    hidden = positive_int(config, keys.hidden, 1 << 16)
    rows = positive_int(config, keys.positions, 1 << 20)
    spec = EncoderSpec(
        model_type=model_type,
        layers=positive_int(config, keys.layers, MOST_LAYERS),
        hidden=hidden,
        embedding_size=hidden,
        heads=positive_int(config, keys.heads, 1024),
        intermediate=positive_int(config, keys.intermediate, 1 << 18),
        activation=_activation(config, keys.activation, activation),
        vocab_size=vocab_size,
        max_positions=rows - (pad + 1 if positions_after_padding else 0),
        norm_eps=norm_eps if keys.norm_eps is None else positive_float(config, keys.norm_eps, norm_eps),
        pad_token_id=pad,
        skips_padding=positions_after_padding,
    )
    if spec.hidden % spec.heads:
        raise CheckpointError(
            f"config.json: {keys.hidden} {spec.hidden} is not divisible by {spec.heads} heads."
        )
    if spec.max_positions < 1:
        raise CheckpointError(
            f"config.json: {keys.positions} {rows} ends before the first token's position, {pad + 1}."
        )
    return spec


def refuse_variants(config: Config, known: Mapping[str, tuple[Any, ...]]) -> None:
    """Check that each key of ``known`` has one of the values listed there. The first value is the default.

    Raises:
        UnsupportedModelError: another value; the message names the key and the value.
    """
    for key, allowed in known.items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            raise UnsupportedModelError(
                f"config.json: {key} {value!r} is not supported; known: {', '.join(map(repr, allowed))}."
            )


def _activation(config: Config, key: str, default: str) -> Activation:
    """The activation ``config[key]``, or ``default`` if the key is absent.

    Raises:
        UnsupportedModelError: the activation is not supported.
    """
    value = config.get(key, default)
    if not isinstance(value, str) or value not in ACTIVATION_NAMES:
        raise UnsupportedModelError(
            f"config.json: {key} {value!r} is not supported; known: {', '.join(map(repr, ACTIVATION_NAMES))}."
        )
    return ACTIVATION_NAMES[value]


def _padding_id(config: Config, vocab_size: int, default: int) -> int:
    """``config["pad_token_id"]``, or ``default`` if it is absent or null.

    Raises:
        CheckpointError: the id is not in the vocabulary.
    """
    value = config.get("pad_token_id")
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab_size:
        raise CheckpointError(
            f"config.json: pad_token_id is {value!r}; an integer from 0 to {vocab_size - 1} was expected."
        )
    return value


def positive_int(config: Config, key: str, limit: int = 1 << 24, default: int | None = None) -> int:
    """``config[key]``, or ``default`` if it is absent: an integer from 1 to ``limit``.

    Raises:
        CheckpointError: missing, not an integer, or out of range.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise CheckpointError(f"config.json: {key} is {value!r}; an integer from 1 to {limit} was expected.")
    return value


def positive_float(config: Config, key: str, default: float | None = None) -> float:
    """``config[key]``, or ``default`` if it is absent: a finite float above zero.

    Raises:
        CheckpointError: not such a number.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise CheckpointError(f"config.json: {key} is {value!r}; a number above zero was expected.")
    return float(value)


def flag(config: Config, key: str, default: bool) -> bool:
    """``config[key]``, or ``default`` if it is absent: true or false.

    Raises:
        CheckpointError: another value.
    """
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"config.json: {key} is {value!r}; true or false was expected.")
    return value
