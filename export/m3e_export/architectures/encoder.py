"""The neutral form of a post-norm transformer encoder, which graphs and the numpy oracle are written for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Activation", "EncoderSpec", "EncoderWeights", "LayerWeights", "Linear", "Norm"]

Array = npt.NDArray[np.float32]

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
"""Between the two matrices of the feed-forward part. ``gelu_tanh`` is GELU's approximation with tanh;
``quick_gelu`` the one with the logistic function, ``x · σ(1.702 x)``."""


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes of an encoder.

    ``max_positions`` counts the tokens that a text may have: rows of the position table that no token uses
    are gone. ``layers`` counts those that a text passes through, however many share their weights.
    ``embedding_size`` is the width of the embeddings. ``norm_eps`` is added to the variance in every layer
    normalization. ``pad_token_id`` fills batches up. ``skips_padding`` says that positions count the other
    tokens only, where a text itself has that id.
    """

    model_type: str
    layers: int
    hidden: int
    embedding_size: int
    heads: int
    intermediate: int
    activation: Activation
    vocab_size: int
    max_positions: int
    norm_eps: float
    pad_token_id: int = 0
    skips_padding: bool = False

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
    """Layer normalization over the last axis: scale and shift, float32 ``[width]``."""

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
    token type 0 and task 0 in families that have them. Where positions skip padding, row 0 is for padding
    that a text has, and row ``i`` for the ``i``-th other token, counted from 1.

    ``embedding_projection`` takes normalized embeddings to the first layer, in families that have one. Layers
    that share weights are the same object.

    ``relative_bias``, float32 ``[heads, 2 · max_positions - 1]``, is None in families without one. In every
    layer column ``(j - i) + max_positions - 1`` is added to the scaled scores of query ``i`` and key ``j``.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    relative_bias: Array | None = None
    embedding_projection: Linear | None = None

    def stored_layers(self) -> tuple[LayerWeights, ...]:
        """What the layers consist of, each once, in the order of its first use."""
        return tuple({id(layer): layer for layer in self.layers}.values())

    def linears(self) -> Iterator[Linear]:
        """Every matrix of the encoder, each once."""
        return self._linears(self.stored_layers())

    def products(self) -> Iterator[Linear]:
        """The matrix of every product that a text passes through: a shared one comes several times."""
        return self._linears(self.layers)

    def _linears(self, layers: Iterable[LayerWeights]) -> Iterator[Linear]:
        if self.embedding_projection is not None:
            yield self.embedding_projection
        for layer in layers:
            yield from layer.linears()
