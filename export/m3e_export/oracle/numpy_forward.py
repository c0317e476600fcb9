"""A plain float32 forward pass of the encoder in numpy, without padding.

It is the oracle if torch is not installed, and it records the inputs of every matrix for calibration. The
tests compare it with PyTorch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import (
    Activation,
    EncoderSpec,
    EncoderWeights,
    LayerAttention,
    LayerWeights,
    Linear,
    Norm,
)

__all__ = ["ACTIVATIONS", "NumpyForward", "gelu", "relu", "silu"]

Array = npt.NDArray[np.float32]
Observer = Callable[[Linear, Array], None]


class NumpyForward:
    """The encoder without pooling. Several texts are packed: their tokens are rows of one matrix."""

    def __init__(self, spec: EncoderSpec, weights: EncoderWeights, observe: Observer | None = None) -> None:
        """``observe`` is called with each matrix and its input, ``[tokens, inputs]``."""
        self._spec = spec
        self._weights = weights
        self._observe = observe

    def __call__(self, token_ids: npt.NDArray[np.int32]) -> Array:
        """Last hidden state, float32 ``[length, hidden]``, of one text's ids, int32 ``[length]``."""
        return self.states(token_ids)[-1]

    def words(self, token_ids: npt.NDArray[np.int32]) -> Array:
        """Rows of the word embeddings, float32 ``[length, embedding_size]``."""
        return self._weights.word_embeddings[token_ids]

    def states(self, token_ids: npt.NDArray[np.int32]) -> list[Array]:
        """The input of the first layer and the output of each, as ``hidden_states`` in transformers."""
        return self.packed_states([token_ids])

    def packed_states(
        self,
        texts: Sequence[npt.NDArray[np.int32]],
        token_types: Sequence[npt.NDArray[np.int32]] | None = None,
    ) -> list[Array]:
        """:meth:`states` for packed ``texts``, each float32 ``[tokens, hidden]``."""
        lengths = [len(token_ids) for token_ids in texts]
        states = [self.embedded(texts, token_types)]
        for place in range(self._spec.layers):
            states.append(self.layer(place, states[-1], lengths))
        return states

    def embedded(
        self,
        texts: Sequence[npt.NDArray[np.int32]],
        token_types: Sequence[npt.NDArray[np.int32]] | None = None,
    ) -> Array:
        """The input of the first layer for packed ``texts``, float32 ``[tokens, hidden]``.

        ``token_types`` are those of each text's tokens; None: all are 0.
        """
        weights = self._weights
        x = self._norm(weights.embedding_norm, self.summed(texts, token_types))
        return x if weights.embedding_projection is None else self._linear(weights.embedding_projection, x)

    def summed(
        self,
        texts: Sequence[npt.NDArray[np.int32]],
        token_types: Sequence[npt.NDArray[np.int32]] | None = None,
    ) -> Array:
        """The sums of a token's embeddings for packed ``texts``, float32 ``[tokens, embedding_size]``."""
        weights = self._weights
        places = np.concatenate([self._positions(token_ids) for token_ids in texts])
        x: Array = self.words(np.concatenate(texts)) + weights.position_embeddings[places]
        if token_types is not None and weights.token_type_embeddings is not None:
            of_zero = np.zeros_like(weights.token_type_embeddings[:1])
            x += np.concatenate([of_zero, weights.token_type_embeddings])[np.concatenate(token_types)]
        return x

    def layer(self, place: int, x: Array, lengths: Sequence[int]) -> Array:
        """The output of layer ``place`` for packed texts of ``lengths`` tokens, float32 ``[tokens, hidden]``.

        That of the last layer has passed the final normalization.
        """
        layer, first = self._weights.layers[place], self._spec.norm_first
        attention = self._spec.layer_attention[place]
        before = self._norm(layer.attention_norm, x) if first else x
        attended = self._attended(layer, before, lengths, attention)
        begun, x = x, self._residual_sum(layer, x, self._linear(layer.attention_output, attended))
        x = x if first else self._norm(layer.attention_norm, x)
        x = x if layer.second_norm is None else self._norm(layer.second_norm, begun + x)
        wide = self._wide(layer, self._norm(layer.output_norm, x) if first else x)
        x = self._residual_sum(layer, x, self._linear(layer.output, wide))
        x = x if first else self._norm(layer.output_norm, x)
        return self._norm(self._weights.final_norm, x) if place == self._spec.layers - 1 else x

    def _residual_sum(self, layer: LayerWeights, x: Array, y: Array) -> Array:
        """The input ``x`` of a part of ``layer`` plus its result ``y``."""
        del layer
        return x + y

    def _attended(
        self, layer: LayerWeights, x: Array, lengths: Sequence[int], attention: LayerAttention
    ) -> Array:
        """The weighted means of the values, float32 ``[tokens, hidden]``."""
        qkv = self._linear(layer.qkv, x)
        hidden = self._spec.hidden
        for place, norm in enumerate((layer.query_norm, layer.key_norm)):
            columns = slice(place * hidden, (place + 1) * hidden)
            if norm is not None:
                qkv[:, columns] = self._norm(norm, qkv[:, columns])
        bounds = pairwise(accumulate(lengths, initial=0))
        return np.concatenate([self._attention(qkv[begin:end], attention) for begin, end in bounds])

    def _wide(self, layer: LayerWeights, x: Array) -> Array:
        """The input of the second product of the feed-forward part."""
        activation, width = ACTIVATIONS[self._spec.activation], self._spec.intermediate
        product = self._linear(layer.intermediate, x)
        if not self._spec.gated:
            return activation(product)
        return activation(np.ascontiguousarray(product[:, :width])) * product[:, width:]

    def _positions(self, token_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """The row of the position table for each token; see :class:`EncoderWeights`."""
        if not self._spec.learned_positions:
            return np.zeros(len(token_ids), np.int64)
        if not self._spec.skips_padding:
            return np.arange(len(token_ids))
        counted = token_ids != self._spec.pad_token_id
        rows: npt.NDArray[np.int64] = np.cumsum(counted) * counted
        return rows

    def _attention(self, qkv: Array, attention: LayerAttention) -> Array:
        length, spec = len(qkv), self._spec
        query, key, value = qkv.reshape(length, 3, spec.heads, spec.head_size).transpose(1, 2, 0, 3)
        if attention.rotary is not None and self._weights.rotary_tables is not None:
            table = self._weights.rotary_tables[attention.rotary, :length]
            query, key = _rotated(query, table), _rotated(key, table)
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(spec.head_size))
        if self._weights.relative_bias is not None:
            places = np.arange(length)
            scores += self._weights.relative_bias[:, places - places[:, None] + spec.max_positions - 1]
        if not attention.full:
            scores = np.where(_seen(length, attention), scores, np.float32(-np.inf))
        exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = exponents / exponents.sum(axis=-1, keepdims=True)
        context: Array = (shares @ value).transpose(1, 0, 2).reshape(length, spec.hidden)
        return context

    def _linear(self, linear: Linear, x: Array) -> Array:
        if self._observe is not None:
            self._observe(linear, x)
        return x @ linear.weight + linear.bias

    def _norm(self, norm: Norm | None, x: Array) -> Array:
        if norm is None:
            return x
        centred = x if self._spec.norm_kind == "rms" else x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normalized: Array = centred / np.sqrt(variance + np.float32(self._spec.norm_eps))
        return normalized * norm.gamma + norm.beta


def _rotated(x: Array, table: Array) -> Array:
    """``x``, float32 ``[heads, length, head_size]``, turned by a row of ``table`` for each position."""
    half = table.shape[1] // 2
    cosines, sines = table[:, :half], table[:, half:]
    left, right, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return np.concatenate([left * cosines - right * sines, right * cosines + left * sines, rest], axis=-1)


def _seen(length: int, attention: LayerAttention) -> npt.NDArray[np.bool_]:
    """Whether a query, the row, sees a key, the column."""
    places = np.arange(length)
    distance = places - places[:, None]
    before = length if attention.before is None else attention.before
    after = length if attention.after is None else attention.after
    seen: npt.NDArray[np.bool_] = (distance >= -before) & (distance <= after)
    return seen


def gelu(x: Array) -> Array:
    """``x · Φ(x)`` with the exact normal distribution function, as ``torch.nn.functional.gelu``."""
    result, flat = np.empty(x.size, np.float32), x.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        np.multiply(flat[part], _normal_cdf(flat[part]), out=result[part])
    return result.reshape(x.shape)


def gelu_tanh(x: Array) -> Array:
    """``torch.nn.functional.gelu`` with ``approximate="tanh"``: https://arxiv.org/abs/1606.08415."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return x * (np.float32(0.5) + np.float32(0.5) * np.tanh(inner))


def relu(x: Array) -> Array:
    """``torch.nn.functional.relu``."""
    return np.maximum(x, np.float32(0))


def silu(x: Array) -> Array:
    """``torch.nn.functional.silu``: x times the logistic function, by tanh, which cannot overflow."""
    return _times_logistic(x, x)


def quick_gelu(x: Array) -> Array:
    """QuickGELUActivation of transformers: https://github.com/hendrycks/GELUs."""
    return _times_logistic(x, np.float32(1.702) * x)


def _times_logistic(x: Array, u: Array) -> Array:
    half = np.float32(0.5)
    product: Array = x * (half + half * np.tanh(half * u))
    return product


ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "silu": silu,
}

_REACH, _PER_UNIT = 9, 256
_BLOCK = 1 << 15  # values whose intermediate results stay in the cache


@functools.cache
def _cdf_table() -> tuple[Array, Array]:
    """Φ and its derivative on a grid over ±9; outside, Φ is 0 or 1 to 1e-18."""
    grid = np.arange(-_REACH * _PER_UNIT, _REACH * _PER_UNIT + 1) / _PER_UNIT
    values = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in grid], np.float32)
    return values, (np.exp(-grid * grid / 2) / math.sqrt(2 * math.pi)).astype(np.float32)


def _normal_cdf(x: Array) -> Array:
    """Φ by its Taylor series around the nearest point of the grid; numpy has no erf.

    The error is below 1e-9, besides the rounding of float32. The second derivative of Φ is −xΦ′.
    """
    values, slopes = _cdf_table()
    x = np.clip(x, -_REACH, _REACH)
    steps = np.rint(x * np.float32(_PER_UNIT))
    point = steps * np.float32(1 / _PER_UNIT)
    rest = x - point  # exact: the grid's points are multiples of a power of two
    index = (np.fmin(steps, _REACH * _PER_UNIT) + _REACH * _PER_UNIT).astype(np.int32)  # NaN has no index
    result: Array = values[index] + slopes[index] * rest * (1 - np.float32(0.5) * point * rest)
    return result
