"""Pooling of one text's states, and the layers after it, for every oracle but sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint.head import LAYER_NORM_EPS, HeadLayer, LayerNorm, UnitLength
from m3e_export.checkpoint.pooling import DenseActivation, Reduction, pooling_spec
from m3e_export.oracle.numpy_forward import gelu, relu, silu
from m3e_runtime.outputs import normalize

__all__ = ["sentence_vector"]

Array = npt.NDArray[np.float32]


def sentence_vector(
    pooling: str,
    dense: Sequence[HeadLayer],
    words: Array,
    states: Sequence[Array],
    prompt_length: int = 0,
    state_weights: Array | None = None,
) -> Array:
    """Pool one text, without padding, and apply the layers after the pooling.

    Args:
        pooling: the name of the pooling.
        dense: the layers after it.
        words: rows of the word embeddings, float32 ``[length, embedding_size]``.
        states: the input of the first layer and the output of each, float32 ``[length, hidden]``.
        prompt_length: number of tokens at the start that are not pooled.
        state_weights: weight of each of ``states`` in the pooled states; None pools the last only.

    Returns:
        float32 ``[dimension]``, not normalized.
    """
    spec = pooling_spec(pooling)
    last = states[-1] if state_weights is None else np.tensordot(state_weights, np.stack(states), 1)
    vector = np.concatenate([_reduced(part, last, prompt_length) for part in spec.reductions])
    if spec.early is not None:
        early = {"words": words, "embeddings": states[0], "first layer": states[1]}[spec.early]
        vector = (_reduced("mean", early, prompt_length) + vector) / np.float32(2)
    for layer in dense:
        vector = _applied(layer, vector)
    return vector


def _applied(layer: HeadLayer, vector: Array) -> Array:
    if isinstance(layer, UnitLength):
        unit: Array = normalize(vector[None])[0]
        return unit
    if isinstance(layer, LayerNorm):
        centred = vector - vector.mean()
        scaled: Array = centred / np.sqrt(np.square(centred).mean() + np.float32(LAYER_NORM_EPS))
        return scaled * layer.gamma + layer.beta
    return _ACTIVATIONS[layer.activation](vector @ layer.weight + layer.bias)


def _sigmoid(x: Array) -> Array:
    """The logistic function, computed by tanh, which cannot overflow."""
    half = np.float32(0.5)
    values: Array = half + half * np.tanh(half * x)
    return values


_ACTIVATIONS: dict[DenseActivation, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": relu,
    "gelu": gelu,
    "silu": silu,
    "sigmoid": _sigmoid,
}


def _reduced(reduction: Reduction, states: Array, start: int) -> Array:
    """One vector of the states from ``start`` on.

    Without any, the result is that of sentence-transformers, but zero for ``max`` instead of minus infinity.
    """
    if start < len(states):
        return _REDUCE[reduction](states[start:], start)
    return states[0] if reduction == "cls" else np.zeros_like(states[0])


def _weighted(states: Array, start: int) -> Array:
    weights = np.arange(start + 1, start + len(states) + 1, dtype=np.float32)
    mean: Array = weights @ states / weights.sum()
    return mean


def _mean(states: Array, _: int) -> Array:
    mean: Array = states.mean(axis=0)
    return mean


def _over_root(states: Array, _: int) -> Array:
    vector: Array = states.sum(axis=0) / np.sqrt(np.float32(len(states)))
    return vector


_REDUCE: dict[Reduction, Callable[[Array, int], Array]] = {
    "cls": lambda states, _: states[0],
    "max": lambda states, _: states.max(axis=0),
    "mean": _mean,
    "mean_sqrt_len_tokens": _over_root,
    "weightedmean": _weighted,
    "lasttoken": lambda states, _: states[-1],
}
