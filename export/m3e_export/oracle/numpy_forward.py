"""A plain float32 forward pass of the encoder in numpy, one text at a time, no padding.

It is the oracle if torch is not installed, and it records the inputs of every matrix for calibration. The
tests compare it with PyTorch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Activation, EncoderSpec, EncoderWeights, LayerWeights, Linear, Norm

__all__ = ["ACTIVATIONS", "NumpyForward", "gelu", "relu", "silu"]

Array = npt.NDArray[np.float32]
Observer = Callable[[Linear, Array], None]


class NumpyForward:
    """The encoder without pooling."""

    def __init__(self, spec: EncoderSpec, weights: EncoderWeights, observe: Observer | None = None) -> None:
        """``observe`` is called with each matrix and its input, ``[length, inputs]``."""
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
        weights = self._weights
        x = self.words(token_ids) + weights.position_embeddings[self._positions(token_ids)]
        x = self._norm(weights.embedding_norm, x)
        if weights.embedding_projection is not None:
            x = self._linear(weights.embedding_projection, x)
        states = [x]
        for layer in weights.layers:
            states.append(self._layer(layer, states[-1]))
        return states

    def _positions(self, token_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """The row of the position table for each token; see :class:`EncoderWeights`."""
        if not self._spec.skips_padding:
            return np.arange(len(token_ids))
        counted = token_ids != self._spec.pad_token_id
        rows: npt.NDArray[np.int64] = np.cumsum(counted) * counted
        return rows

    def _layer(self, layer: LayerWeights, x: Array) -> Array:
        attended = self._attention(self._linear(layer.qkv, x))
        x = self._norm(layer.attention_norm, x + self._linear(layer.attention_output, attended))
        wide = ACTIVATIONS[self._spec.activation](self._linear(layer.intermediate, x))
        return self._norm(layer.output_norm, x + self._linear(layer.output, wide))

    def _attention(self, qkv: Array) -> Array:
        length, spec = len(qkv), self._spec
        query, key, value = qkv.reshape(length, 3, spec.heads, spec.head_size).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(spec.head_size))
        if self._weights.relative_bias is not None:
            places = np.arange(length)
            scores += self._weights.relative_bias[:, places - places[:, None] + spec.max_positions - 1]
        exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = exponents / exponents.sum(axis=-1, keepdims=True)
        context: Array = (shares @ value).transpose(1, 0, 2).reshape(length, spec.hidden)
        return context

    def _linear(self, linear: Linear, x: Array) -> Array:
        if self._observe is not None:
            self._observe(linear, x)
        return x @ linear.weight + linear.bias

    def _norm(self, norm: Norm, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normalized: Array = centred / np.sqrt(variance + np.float32(self._spec.norm_eps))
        return normalized * norm.gamma + norm.beta


def gelu(x: Array) -> Array:
    """``x · Φ(x)`` with the exact normal distribution function, as ``torch.nn.functional.gelu``."""
    return x * _normal_cdf(x)


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

_REACH, _STEPS = 9.0, 4608


@functools.cache
def _cdf_table() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Φ and its derivative (times the step) on a grid over ±9; outside, Φ is 0 or 1 to 1e-18."""
    grid = np.linspace(-_REACH, _REACH, _STEPS + 1)
    values = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in grid])
    slopes = np.exp(-grid * grid / 2) / math.sqrt(2 * math.pi) * (2 * _REACH / _STEPS)
    return values, slopes


def _normal_cdf(x: Array) -> Array:
    """Φ by cubic Hermite interpolation; numpy has no erf. The error is below 1e-12."""
    values, slopes = _cdf_table()
    position = (np.clip(x.astype(np.float64), -_REACH, _REACH) + _REACH) * (_STEPS / (2 * _REACH))
    index = np.fmin(position, _STEPS - 1).astype(np.int64)  # fmin: NaN has no index; it stays NaN below
    t = position - index
    left, right = values[index], values[index + 1]
    rise = right - left
    cubic = slopes[index] + slopes[index + 1] - 2 * rise
    square = rise - slopes[index] - cubic
    interpolated: Array = (left + t * (slopes[index] + t * (square + t * cubic))).astype(np.float32)
    return interpolated
