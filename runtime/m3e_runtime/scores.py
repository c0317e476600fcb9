"""Logits to scores: activation functions, and the order of documents by their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import whole_number
from m3e_runtime.errors import OptionError

__all__ = ["ACTIVATIONS", "ActivationFn", "activate", "activation_named", "ranked"]

Scores = npt.NDArray[np.float32]
ActivationFn = Callable[[Scores], Any]
"""Takes logits, float32 ``[n, labels]``, and gives scores of the same shape."""


def _identity(logits: Scores) -> Scores:
    return logits


# Both compute in float64: then a score does not depend on how many there are, to the last bit.


def _sigmoid(logits: Scores) -> Scores:
    with np.errstate(over="ignore"):
        scores: Scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    return scores


def _softmax(logits: Scores) -> Scores:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    scores: Scores = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores


ACTIVATIONS: dict[str, ActivationFn] = {"identity": _identity, "sigmoid": _sigmoid, "softmax": _softmax}
"""The activation functions that have a name."""


def activation_named(activation: Any) -> ActivationFn:
    """The function that ``activation`` names; a function is returned as it is.

    Raises:
        OptionError: an unknown name, or neither a name nor a function.
    """
    if callable(activation):
        function: ActivationFn = activation
        return function
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise OptionError(
            f"activation_fn={activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}, or a function "
            "of an array."
        )
    return ACTIVATIONS[activation]


def activate(logits: Scores, function: ActivationFn, softmax: bool) -> Scores:
    """Scores from logits, float32 ``[n, labels]``: ``[n]`` for one label, else ``[n, labels]``.

    With ``softmax``, the scores of several labels are then made to sum to 1. The order is CrossEncoder's.

    Raises:
        OptionError: the function gives an array of another shape.
    """
    found: Any = np.asarray(function(logits))
    if found.shape != logits.shape:
        raise OptionError(
            f"activation_fn gives an array of shape {found.shape} for one of {logits.shape}; it must keep it."
        )
    scores: Scores = found.astype(np.float32, copy=False)
    if logits.shape[1] == 1:
        return scores[:, 0]
    return _softmax(scores) if softmax else scores


def ranked(
    scores: Scores, documents: Sequence[str], top_k: int | None, return_documents: bool
) -> list[dict[str, Any]]:
    """The documents by falling score, equal ones in the order given, as CrossEncoder's ``rank`` returns them.

    Args:
        scores: float32 ``[n]``.
        documents: the documents.
        top_k: how many are returned; None: all.
        return_documents: also return the documents, as ``text``.
    """
    order = np.argsort(-scores, kind="stable")[:top_k].tolist()
    found = scores.tolist()
    return [
        {"corpus_id": at, "score": found[at], **({"text": documents[at]} if return_documents else {})}
        for at in order
    ]


def check_top_k(top_k: Any) -> int | None:
    """``top_k`` as a number of documents; None: all.

    Raises:
        OptionError: below zero, or of another type.
    """
    return None if top_k is None else whole_number("top_k", top_k, 0)
