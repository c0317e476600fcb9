"""Collecting the neutral weights of a family by its tensor names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights, LayerWeights, Linear, Norm
from m3e_export.architectures.tensors import Array, TensorLookup

__all__ = [
    "BERT_NAMES",
    "EMBEDDING_NORM",
    "POSITIONS",
    "TYPES",
    "WORDS",
    "LayerNames",
    "encoder_weights",
    "layer_weights",
    "linear_weights",
    "norm_weights",
    "side_by_side",
    "type_differences",
]

WORDS = "embeddings.word_embeddings.weight"
"""Every family has this tensor. What precedes it in a name is the prefix of all names."""
POSITIONS = "embeddings.position_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
EMBEDDING_NORM = "embeddings.LayerNorm"


@dataclass(frozen=True)
class LayerNames:
    """The names of a family: of its layers (``stem``, before the number) and of the parts of a layer."""

    stem: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str


BERT_NAMES = LayerNames(
    stem="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    intermediate="intermediate.dense",
    output="output.dense",
    output_norm="output.LayerNorm",
)


def encoder_weights(
    lookup: TensorLookup,
    spec: EncoderSpec,
    names: LayerNames,
    positions: Array,
    types: Array | None = None,
) -> EncoderWeights:
    """Collect the weights. Matrices change from PyTorch's ``[outputs, inputs]`` to ``[inputs, outputs]``.

    Args:
        lookup: the checkpoint's tensors.
        spec: the expected sizes.
        names: the family's names.
        positions: the position embeddings of :class:`EncoderWeights`, float32 ``[rows, hidden]``.
        types: the embeddings of token types, float32 ``[types, hidden]``; None if there are none.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=positions,
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, spec.hidden),
        layers=tuple(
            layer_weights(lookup, spec, names, f"{names.stem}.{index}", index) for index in range(spec.layers)
        ),
        token_type_embeddings=None if types is None else type_differences(types),
    )


def type_differences(types: Array) -> Array | None:
    """:attr:`EncoderWeights.token_type_embeddings` of the embeddings of all types."""
    return types[1:] - types[0] if len(types) > 1 else None


def layer_weights(
    lookup: TensorLookup, spec: EncoderSpec, names: LayerNames, base: str, index: int
) -> LayerWeights:
    """The layer whose names begin with ``base``; ``index`` is its number among the distinct layers.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    hidden, wide = spec.hidden, spec.intermediate

    def linear(name: str, part: str, inputs: int, outputs: int) -> Linear:
        return linear_weights(lookup, f"{base}.{name}", f"layer.{index}.{part}", inputs, outputs)

    parts = [linear(name, "qkv", hidden, hidden) for name in (names.query, names.key, names.value)]
    return LayerWeights(
        qkv=side_by_side(parts),
        attention_output=linear(names.attention_output, "attention_output", hidden, hidden),
        attention_norm=norm_weights(lookup, f"{base}.{names.attention_norm}", hidden),
        intermediate=linear(names.intermediate, "intermediate", hidden, wide),
        output=linear(names.output, "output", wide, hidden),
        output_norm=norm_weights(lookup, f"{base}.{names.output_norm}", hidden),
    )


def linear_weights(
    lookup: TensorLookup, name: str, known_as: str, inputs: int, outputs: int, bias: bool = True
) -> Linear:
    """The linear layer ``name`` of the checkpoint, which gets the name ``known_as``.

    Without ``bias``, the biases are zeros.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    weight = lookup.get(f"{name}.weight", outputs, inputs)
    return Linear(known_as, np.ascontiguousarray(weight.T), _shift(lookup, name, outputs, bias))


def side_by_side(parts: Sequence[Linear]) -> Linear:
    """Linear layers of the same input as one, with the name of the first."""
    return Linear(
        parts[0].name,
        np.concatenate([part.weight for part in parts], axis=1),
        np.concatenate([part.bias for part in parts]),
    )


def norm_weights(lookup: TensorLookup, name: str, width: int, bias: bool = True) -> Norm:
    """The normalization ``name``. Without ``bias``, its shift is zeros.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    return Norm(name, lookup.get(f"{name}.weight", width), _shift(lookup, name, width, bias))


def _shift(lookup: TensorLookup, name: str, width: int, there: bool) -> Array:
    return lookup.get(f"{name}.bias", width) if there else np.zeros(width, np.float32)
