"""The neutral form of a transformer encoder. Graphs, native weights and the oracle are written for it.

One description covers BERT and the encoders after it: learned, rotary and relative positions; normalization
after or before a part of a layer; plain and gated feed-forward parts; full attention and windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "Activation",
    "EncoderSpec",
    "EncoderWeights",
    "LayerAttention",
    "LayerWeights",
    "Linear",
    "Norm",
    "NormKind",
]

Array = npt.NDArray[np.float32]

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
"""The activation of the feed-forward part. ``gelu_tanh`` approximates GELU with tanh, ``quick_gelu`` with the
logistic function, ``x · σ(1.702 x)``."""

NormKind = Literal["layer", "rms"]
"""``layer`` subtracts the mean and divides by the standard deviation; ``rms`` divides by the root of the mean
square: https://arxiv.org/abs/1910.07467."""


@dataclass(frozen=True)
class LayerAttention:
    """What the attention of one layer sees.

    Query ``i`` sees the keys from ``i - before`` to ``i + after``; None is unlimited. ``rotary`` is the index
    of the table in :attr:`EncoderWeights.rotary_tables` that rotates queries and keys; None rotates nothing.
    """

    before: int | None = None
    after: int | None = None
    rotary: int | None = None

    @property
    def full(self) -> bool:
        """Whether every query sees every key."""
        return self.before is None and self.after is None


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes of an encoder.

    ``max_positions`` is the maximum length of a text in tokens; unused rows of the position table do not
    count. ``layers`` is the depth, also if layers share weights. ``embedding_size`` is the width of the
    embeddings. ``norm_eps`` is added to the variance in every layer normalization. ``pad_token_id`` is the id
    of padding. If ``skips_padding``, tokens of that id in a text do not count for positions.

    The rest has BERT's values by default. ``norm_kind`` is that of every normalization in the encoder. If
    ``norm_first``, a normalization precedes each part of a layer instead of following the residual sum. If
    ``gated``, the feed-forward part is ``(activation(x A) * (x B)) C``, and ``intermediate`` is the width of
    ``x A``. Without ``learned_positions``, the position table has one row, which is added to every token.
    ``attention`` describes each layer's attention; empty, every layer sees all and rotates nothing.
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
    norm_kind: NormKind = "layer"
    norm_first: bool = False
    gated: bool = False
    learned_positions: bool = True
    attention: tuple[LayerAttention, ...] = ()

    @property
    def layer_attention(self) -> tuple[LayerAttention, ...]:
        """The attention of each layer."""
        return self.attention or (LayerAttention(),) * self.layers

    @property
    def feed_forward_outputs(self) -> int:
        """The columns of :attr:`LayerWeights.intermediate`."""
        return 2 * self.intermediate if self.gated else self.intermediate

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
    """Normalization over the last axis: scale and shift, float32 ``[width]``; a missing shift is zero."""

    name: str
    gamma: Array
    beta: Array


@dataclass(frozen=True)
class LayerWeights:
    """One layer.

    ``qkv`` holds query, key and value side by side, ``[hidden, 3 · hidden]``. Fewer heads of keys and values
    than of queries are repeated there. ``intermediate`` is ``[hidden, intermediate]``, or in a gated layer
    ``[hidden, 2 · intermediate]``: first the columns that pass the activation, then their factors.

    ``attention_norm`` and ``output_norm`` belong to the attention and to the feed-forward part: they follow
    the residual sum, or precede the part if the encoder normalizes first. Only then may ``attention_norm`` be
    None: the part takes its input as it is. ``second_norm`` normalizes the sum of the layer's input and what
    ``attention_norm`` gives, in an encoder that does not normalize first; None in most families.
    ``query_norm`` and ``key_norm`` normalize all heads of a query or key together, ``[hidden]``, before a
    rotation; None in most families.
    """

    qkv: Linear
    attention_output: Linear
    attention_norm: Norm | None
    intermediate: Linear
    output: Linear
    output_norm: Norm
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    second_norm: Norm | None = None

    def linears(self) -> tuple[Linear, Linear, Linear, Linear]:
        """The four matrices in the order of their products."""
        return (self.qkv, self.attention_output, self.intermediate, self.output)


@dataclass(frozen=True)
class EncoderWeights:
    """All weights.

    Row ``i`` of ``position_embeddings`` is added to the word embedding of token ``i``. It is the sum of the
    embeddings of position ``i``, token type 0 and task 0, as far as the family has them. If positions skip
    padding, row 0 is for padding in a text, and row ``i`` for the ``i``-th other token, from 1. Without
    learned positions there is one row, for all tokens.

    ``embedding_projection`` maps normalized embeddings to the width of the layers; None if there is none.
    Layers that share weights are the same object.

    ``token_type_embeddings``, float32 ``[types - 1, embedding_size]``, are for tokens of other types than 0.
    Row ``k - 1`` is the embedding of type ``k`` minus that of type 0. None: all tokens have type 0.

    ``relative_bias``, float32 ``[heads, 2 · max_positions - 1]``, is None if there is none. In every layer,
    column ``(j - i) + max_positions - 1`` is added to the scaled scores of query ``i`` and key ``j``. ALiBi
    is such a bias.

    ``rotary_tables``, float32 ``[tables, max_positions, dimensions]``, hold for each position the cosines of
    ``dimensions / 2`` angles, then their sines. A rotation turns the pairs ``(k, k + dimensions / 2)`` of the
    first ``dimensions`` columns of a head: https://arxiv.org/abs/2104.09864. None if nothing is rotated.

    ``embedding_norm`` is None if the embeddings are not normalized. ``final_norm`` follows the last layer; it
    is None in encoders that do not normalize first.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm | None
    layers: tuple[LayerWeights, ...]
    relative_bias: Array | None = None
    embedding_projection: Linear | None = None
    token_type_embeddings: Array | None = None
    rotary_tables: Array | None = None
    final_norm: Norm | None = None

    def stored_layers(self) -> tuple[LayerWeights, ...]:
        """The distinct layers in the order of their first use."""
        return tuple({id(layer): layer for layer in self.layers}.values())

    def linears(self) -> Iterator[Linear]:
        """Every matrix of the encoder, each once."""
        return self._linears(self.stored_layers())

    def products(self) -> Iterator[Linear]:
        """The matrix of every product of a forward pass. A shared matrix comes several times."""
        return self._linears(self.layers)

    def single_norms(self, norm_first: bool) -> int:
        """The number of normalizations in a forward pass that do not follow a residual sum."""
        layers = [norm for layer in self.layers for norm in (layer.query_norm, layer.key_norm)]
        if norm_first:
            layers += [norm for layer in self.layers for norm in (layer.attention_norm, layer.output_norm)]
        return sum(norm is not None for norm in (self.embedding_norm, self.final_norm, *layers))

    def second_norms(self) -> int:
        """The number of layers with a second normalization after the attention."""
        return sum(layer.second_norm is not None for layer in self.layers)

    def _linears(self, layers: Iterable[LayerWeights]) -> Iterator[Linear]:
        if self.embedding_projection is not None:
            yield self.embedding_projection
        for layer in layers:
            yield from layer.linears()
