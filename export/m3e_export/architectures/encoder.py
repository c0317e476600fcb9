"""The neutral form of a post-norm transformer encoder. Graphs and the numpy oracle are written for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Activation", "EncoderSpec", "EncoderWeights", "LayerWeights", "Linear", "Norm"]

Array = npt.NDArray[np.float32]

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
"""The activation of the feed-forward part. ``gelu_tanh`` approximates GELU with tanh, ``quick_gelu`` with the
logistic function, ``x · σ(1.702 x)``."""


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes of an encoder.

    ``max_positions`` is the maximum length of a text in tokens; unused rows of the position table do not
    count. ``layers`` is the depth, also if layers share weights. ``embedding_size`` is the width of the
    embeddings. ``norm_eps`` is added to the variance in every layer normalization. ``pad_token_id`` is the id
    of padding. If ``skips_padding``, tokens of that id in a text do not count for positions.
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
        """The four matrices in the order of their products."""
        return (self.qkv, self.attention_output, self.intermediate, self.output)


@dataclass(frozen=True)
class EncoderWeights:
    """All weights.

    Row ``i`` of ``position_embeddings`` is added to the word embedding of token ``i``. It is the sum of the
    embeddings of position ``i``, token type 0 and task 0, as far as the family has them. If positions skip
    padding, row 0 is for padding in a text, and row ``i`` for the ``i``-th other token, from 1.

    ``embedding_projection`` maps normalized embeddings to the width of the layers; None if there is none.
    Layers that share weights are the same object.

    ``token_type_embeddings``, float32 ``[types - 1, embedding_size]``, are for tokens of other types than 0.
    Row ``k - 1`` is the embedding of type ``k`` minus that of type 0. None: all tokens have type 0.

    ``relative_bias``, float32 ``[heads, 2 · max_positions - 1]``, is None if there is none. In every layer,
    column ``(j - i) + max_positions - 1`` is added to the scaled scores of query ``i`` and key ``j``.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    relative_bias: Array | None = None
    embedding_projection: Linear | None = None
    token_type_embeddings: Array | None = None

    def stored_layers(self) -> tuple[LayerWeights, ...]:
        """The distinct layers in the order of their first use."""
        return tuple({id(layer): layer for layer in self.layers}.values())

    def linears(self) -> Iterator[Linear]:
        """Every matrix of the encoder, each once."""
        return self._linears(self.stored_layers())

    def products(self) -> Iterator[Linear]:
        """The matrix of every product of a forward pass. A shared matrix comes several times."""
        return self._linears(self.layers)

    def _linears(self, layers: Iterable[LayerWeights]) -> Iterator[Linear]:
        if self.embedding_projection is not None:
            yield self.embedding_projection
        for layer in layers:
            yield from layer.linears()
