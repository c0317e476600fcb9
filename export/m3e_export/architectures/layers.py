"""From a family's tensor names to the neutral weights: only the names differ, the arithmetic does not."""

from __future__ import annotations

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
]

WORDS = "embeddings.word_embeddings.weight"
"""In every family, so that what stands before it is the prefix of all its names."""
POSITIONS = "embeddings.position_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
EMBEDDING_NORM = "embeddings.LayerNorm"


@dataclass(frozen=True)
class LayerNames:
    """What a family calls its layers (``stem``, before their number) and the parts of one."""

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
    lookup: TensorLookup, spec: EncoderSpec, names: LayerNames, positions: Array
) -> EncoderWeights:
    """Collect the weights; PyTorch stores matrices ``[outputs, inputs]``, we ``[inputs, outputs]``.

    Args:
        lookup: the checkpoint's tensors.
        spec: the sizes that they must have.
        names: the family's names.
        positions: what each position adds to a word's embedding, float32 ``[rows, hidden]``; see
            :class:`EncoderWeights`.

    Raises:
        CheckpointError: a tensor is missing, of another shape than the config says, or not finite.
    """
    return EncoderWeights(
        word_embeddings=lookup.get(WORDS, spec.vocab_size, spec.hidden),
        position_embeddings=positions,
        embedding_norm=norm_weights(lookup, EMBEDDING_NORM, spec.hidden),
        layers=tuple(
            layer_weights(lookup, spec, names, f"{names.stem}.{index}", index) for index in range(spec.layers)
        ),
    )


def layer_weights(
    lookup: TensorLookup, spec: EncoderSpec, names: LayerNames, base: str, index: int
) -> LayerWeights:
    """The layer whose tensors stand under ``base``; ``index`` is its place among the stored ones.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    hidden, wide = spec.hidden, spec.intermediate

    def linear(name: str, part: str, inputs: int, outputs: int) -> Linear:
        return linear_weights(lookup, f"{base}.{name}", f"layer.{index}.{part}", inputs, outputs)

    parts = [linear(name, "qkv", hidden, hidden) for name in (names.query, names.key, names.value)]
    return LayerWeights(
        qkv=Linear(
            parts[0].name,
            np.concatenate([part.weight for part in parts], axis=1),
            np.concatenate([part.bias for part in parts]),
        ),
        attention_output=linear(names.attention_output, "attention_output", hidden, hidden),
        attention_norm=norm_weights(lookup, f"{base}.{names.attention_norm}", hidden),
        intermediate=linear(names.intermediate, "intermediate", hidden, wide),
        output=linear(names.output, "output", wide, hidden),
        output_norm=norm_weights(lookup, f"{base}.{names.output_norm}", hidden),
    )


def linear_weights(lookup: TensorLookup, name: str, known_as: str, inputs: int, outputs: int) -> Linear:
    """The linear layer ``name``, which we call ``known_as``.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    weight = lookup.get(f"{name}.weight", outputs, inputs)
    return Linear(known_as, np.ascontiguousarray(weight.T), lookup.get(f"{name}.bias", outputs))


def norm_weights(lookup: TensorLookup, name: str, width: int) -> Norm:
    """The layer normalization ``name``.

    Raises:
        CheckpointError: see :func:`encoder_weights`.
    """
    return Norm(name, lookup.get(f"{name}.weight", width), lookup.get(f"{name}.bias", width))
