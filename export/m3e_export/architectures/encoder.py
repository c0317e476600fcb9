"""The neutral form of a post-norm transformer encoder, which graphs and the numpy oracle are written for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["EncoderSpec", "EncoderWeights", "LayerWeights", "Linear", "Norm"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes of an encoder.

    ``max_positions`` counts the tokens that a text may have: rows of the position table that no token uses
    are gone. ``norm_eps`` is added to the variance in every layer normalization. ``pad_token_id`` fills
    batches up.
    """

    model_type: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab_size: int
    max_positions: int
    norm_eps: float
    pad_token_id: int = 0

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


@dataclass(frozen=True)
class Linear:
    """``y = x @ weight + bias``: weight float32 ``[inputs, outputs]``, bias float32 ``[outputs]``."""

    name: str
    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalization over the last axis: scale and shift, float32 ``[hidden]``."""

    name: str
    gamma: Array
    beta: Array


@dataclass(frozen=True)
class LayerWeights:
    """One layer. ``qkv`` holds query, key and value side by side, ``[hidden, 3 · hidden]``."""

    qkv: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm

    def linears(self) -> tuple[Linear, Linear, Linear, Linear]:
        """The four matrix products in the order they are computed."""
        return (self.qkv, self.attention_output, self.intermediate, self.output)


@dataclass(frozen=True)
class EncoderWeights:
    """All weights.

    Row ``i`` of ``position_embeddings`` is what the ``i``-th token gets beside its word: its position, and
    token type 0 and task 0 in families that have them.

    ``relative_bias``, float32 ``[heads, 2 · max_positions - 1]``, is None in families without one. In every
    layer column ``(j - i) + max_positions - 1`` is added to the scaled scores of query ``i`` and key ``j``.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    relative_bias: Array | None = None

    def linears(self) -> Iterator[Linear]:
        """Every matrix product of the encoder."""
        for layer in self.layers:
            yield from layer.linears()
