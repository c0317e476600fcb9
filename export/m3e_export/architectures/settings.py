"""Reading sizes and variants from ``config.json`` with the checks that every family needs."""

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
    "positive_int",
    "refuse_variants",
]

Config = Mapping[str, Any]

BERT_VARIANTS: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),  # null: transformers compares it with the others only
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
"""What BERT and the families that kept its keys may say: the first value is the one meant by silence."""

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
"""By their names in transformers."""

MOST_LAYERS = 1024  # as the native engine allows
_DEFAULT_EPS = 1e-12  # the default of BertConfig and its likes, and fixed in DistilBertModel


@dataclass(frozen=True)
class SizeKeys:
    """Where a family's sizes stand in config.json; ``norm_eps`` is None where config.json has no say."""

    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    intermediate: str = "intermediate_size"
    activation: str = "hidden_act"
    norm_eps: str | None = "layer_norm_eps"


_BERT_KEYS = SizeKeys()


def encoder_spec(
    config: Config,
    model_type: str,
    keys: SizeKeys = _BERT_KEYS,
    *,
    activation: str = "gelu",
    pad_token_id: int = 0,
    positions_after_padding: bool = False,
) -> EncoderSpec:
    """Sizes of an encoder.

    Args:
        config: the content of config.json.
        model_type: the family.
        keys: what the family calls its sizes.
        activation: what the family's configuration class takes where config.json is silent.
        pad_token_id: likewise.
        positions_after_padding: the first token's row of the position table is the one after the padding id,
            and padding in a text has the row of its id.

    Raises:
        CheckpointError: a size is missing or impossible, or does not fit the others.
        UnsupportedModelError: an activation that is not known.
    """
    vocab_size = positive_int(config, "vocab_size")
    pad = _padding_id(config, vocab_size, pad_token_id)
    hidden = positive_int(config, keys.hidden, 1 << 16)
    rows = positive_int(config, "max_position_embeddings", 1 << 20)
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
        norm_eps=_DEFAULT_EPS if keys.norm_eps is None else _positive_float(config, keys.norm_eps),
        pad_token_id=pad,
        skips_padding=positions_after_padding,
    )
    if spec.hidden % spec.heads:
        raise CheckpointError(
            f"config.json: {keys.hidden} {spec.hidden} is not divisible by {spec.heads} heads."
        )
    if spec.max_positions < 1:
        raise CheckpointError(
            f"config.json: max_position_embeddings {rows} ends before the first token's position, {pad + 1}."
        )
    return spec


def refuse_variants(config: Config, known: Mapping[str, tuple[Any, ...]]) -> None:
    """Check each key of ``known`` against the values listed there; silence means the first of them.

    Raises:
        UnsupportedModelError: another value; the message names key and value.
    """
    for key, allowed in known.items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            raise UnsupportedModelError(
                f"config.json: {key} {value!r} is not supported; known: {', '.join(map(repr, allowed))}."
            )


def _activation(config: Config, key: str, default: str) -> Activation:
    """``config[key]``, or ``default`` where it is absent, by our name.

    Raises:
        UnsupportedModelError: not a name that is known.
    """
    value = config.get(key, default)
    if not isinstance(value, str) or value not in ACTIVATION_NAMES:
        raise UnsupportedModelError(
            f"config.json: {key} {value!r} is not supported; known: {', '.join(map(repr, ACTIVATION_NAMES))}."
        )
    return ACTIVATION_NAMES[value]


def _padding_id(config: Config, vocab_size: int, default: int) -> int:
    """``config["pad_token_id"]``, or ``default`` where it is absent or null.

    Raises:
        CheckpointError: not an id of the vocabulary.
    """
    value = config.get("pad_token_id")
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab_size:
        raise CheckpointError(
            f"config.json: pad_token_id is {value!r}; an integer from 0 to {vocab_size - 1} was expected."
        )
    return value


def positive_int(config: Config, key: str, limit: int = 1 << 24, default: int | None = None) -> int:
    """``config[key]``, or ``default`` where it is absent, as an integer between 1 and ``limit``.

    Raises:
        CheckpointError: missing, not an integer, or out of range.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise CheckpointError(f"config.json: {key} is {value!r}; an integer from 1 to {limit} was expected.")
    return value


def _positive_float(config: Config, key: str) -> float:
    """``config[key]``, or BERT's default where it is absent, as a finite float above zero.

    Raises:
        CheckpointError: not a number, or not above zero.
    """
    value = config.get(key, _DEFAULT_EPS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise CheckpointError(f"config.json: {key} is {value!r}; a number above zero was expected.")
    return float(value)
