"""Collecting the weights of layers with a gated feed-forward part, whose matrices may be fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.encoder import EncoderSpec, LayerAttention, LayerWeights, Linear
from m3e_export.architectures.layers import TYPES, linear_weights, norm_weights, side_by_side
from m3e_export.architectures.settings import Config
from m3e_export.architectures.tensors import Array, TensorLookup

__all__ = [
    "Biases",
    "GatedNames",
    "columns",
    "gated_layer",
    "joined",
    "one_row",
    "rotated_and_gated",
    "token_types",
]


@dataclass(frozen=True)
class GatedNames:
    """The names of a family, as :class:`LayerNames`.

    ``qkv`` is one fused matrix, or query, key and value. ``intermediate`` is one fused matrix, or first the
    one that passes the activation, then that of the factors. If ``factors_first``, a fused matrix has its
    halves in the other order.
    """

    stem: str
    qkv: tuple[str, ...]
    attention_output: str
    attention_norm: str
    intermediate: tuple[str, ...]
    output: str
    output_norm: str
    factors_first: bool = False


@dataclass(frozen=True)
class Biases:
    """Which parts have biases. The shift of a normalization counts as one."""

    qkv: bool = True
    attention_output: bool = True
    intermediate: bool = True
    output: bool = True
    norms: bool = True


def rotated_and_gated(spec: EncoderSpec) -> EncoderSpec:
    """``spec`` with gated layers, and one table of rotations in every layer in place of learned positions."""
    attention = (LayerAttention(rotary=0),) * spec.layers
    return replace(spec, gated=True, learned_positions=False, attention=attention)


def gated_layer(
    lookup: TensorLookup,
    spec: EncoderSpec,
    names: GatedNames,
    biases: Biases,
    index: int,
    normalized: bool = True,
    key_value_heads: int | None = None,
) -> LayerWeights:
    """Layer ``index``.

    If not ``normalized``, it has no normalization beside its attention. With ``key_value_heads``, as many
    heads of keys and values are stored, and each serves several heads of queries that follow each other.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    base, known_as = f"{names.stem}.{index}", f"layer.{index}"
    hidden, wide = spec.hidden, spec.intermediate

    def linear(found: tuple[str, ...], part: str, inputs: int, outputs: int, bias: bool) -> Linear:
        full = tuple(f"{base}.{name}" for name in found)
        return joined(lookup, full, f"{known_as}.{part}", inputs, outputs, bias)

    intermediate = linear(names.intermediate, "intermediate", hidden, 2 * wide, biases.intermediate)
    if names.factors_first:
        intermediate = columns(intermediate, np.roll(np.arange(2 * wide), wide))
    norm = f"{base}.{names.attention_norm}"
    return LayerWeights(
        qkv=(
            linear(names.qkv, "qkv", hidden, 3 * hidden, biases.qkv)
            if key_value_heads is None
            else _grouped(
                lookup,
                spec,
                [f"{base}.{name}" for name in names.qkv],
                f"{known_as}.qkv",
                biases.qkv,
                key_value_heads,
            )
        ),
        attention_output=linear(
            (names.attention_output,), "attention_output", hidden, hidden, biases.attention_output
        ),
        attention_norm=norm_weights(lookup, norm, hidden, biases.norms) if normalized else None,
        intermediate=intermediate,
        output=linear((names.output,), "output", wide, hidden, biases.output),
        output_norm=norm_weights(lookup, f"{base}.{names.output_norm}", hidden, biases.norms),
    )


def _grouped(
    lookup: TensorLookup, spec: EncoderSpec, names: Sequence[str], known_as: str, bias: bool, heads: int
) -> Linear:
    """Query, key and value side by side, with ``heads`` heads of keys and values repeated for all queries."""
    stored = np.arange(heads * spec.head_size).reshape(heads, spec.head_size)
    repeated = np.repeat(stored, spec.heads // heads, axis=0).reshape(-1)
    query = linear_weights(lookup, names[0], known_as, spec.hidden, spec.hidden, bias)
    others = [linear_weights(lookup, name, known_as, spec.hidden, stored.size, bias) for name in names[1:]]
    return side_by_side([query, *(columns(other, repeated) for other in others)])


def joined(
    lookup: TensorLookup, names: tuple[str, ...], known_as: str, inputs: int, outputs: int, bias: bool
) -> Linear:
    """The linear layers ``names``, of equally many outputs, as one of ``outputs``.

    Raises:
        CheckpointError: see :func:`gated_layer`.
    """
    each = outputs // len(names)
    parts = [linear_weights(lookup, name, known_as, inputs, each, bias) for name in names]
    return parts[0] if len(parts) == 1 else side_by_side(parts)


def columns(linear: Linear, order: npt.NDArray[np.int64]) -> Linear:
    """``linear`` with its outputs in ``order``."""
    return Linear(linear.name, np.ascontiguousarray(linear.weight[:, order]), linear.bias[order])


def token_types(lookup: TensorLookup, config: Config, width: int, default: int) -> Array | None:
    """The embeddings of token types, float32 ``[types, width]``; None if ``type_vocab_size`` is 0.

    Raises:
        CheckpointError: see :func:`gated_layer`.
    """
    return lookup.rows(TYPES, width) if config.get("type_vocab_size", default) else None


def one_row(types: Array | None, width: int) -> Array:
    """:attr:`EncoderWeights.position_embeddings` of one row: token type 0's embedding, or zeros."""
    return np.zeros((1, width), np.float32) if types is None else np.ascontiguousarray(types[:1])
