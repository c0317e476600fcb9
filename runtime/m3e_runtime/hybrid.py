"""Scores of a query and a passage by sparse vectors, multi-vectors, and all outputs together.

The formulas are those of BGE-M3's authors: ``compute_lexical_matching_score``, ``colbert_score`` and
``compute_score_single_device`` of ``M3Embedder`` in
``FlagEmbedding/inference/embedder/encoder_only/m3.py`` (https://github.com/FlagOpen/FlagEmbedding).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import OptionError
from m3e_runtime.token_outputs import Outputs, SparseVector, TextOutputs

__all__ = [
    "DEFAULT_WEIGHTS",
    "hybrid_score",
    "hybrid_scores",
    "max_sim",
    "max_sim_scores",
    "sparse_cosine",
    "sparse_dot",
]

DEFAULT_WEIGHTS = (1.0, 1.0, 1.0)
"""Weights of the dense, sparse and multi-vector scores: the default of ``M3Embedder.compute_score``."""

Array = npt.NDArray[np.float32]


def sparse_dot(query: SparseVector, passage: SparseVector) -> float:
    """The sum over common token ids of the products of their weights ("lexical matching")."""
    _, here, there = np.intersect1d(query.indices, passage.indices, assume_unique=True, return_indices=True)
    return float(query.values[here] @ passage.values[there])


def max_sim(query: Array, passage: Array) -> float:
    """The mean over the query's tokens of the largest dot product with a token of the passage.

    Args:
        query: float32 ``[tokens, size]``.
        passage: float32 ``[tokens, size]``.

    Returns:
        Zero if one of the two has no tokens.

    Raises:
        OptionError: vectors of different sizes, or not matrices.
    """
    if query.ndim != 2 or passage.ndim != 2 or query.shape[1] != passage.shape[1]:
        raise OptionError(
            f"multi-vectors of shapes {query.shape} and {passage.shape}; [tokens, size] is needed."
        )
    if not len(query) or not len(passage):
        return 0.0
    return float((query @ passage.T).max(axis=1).mean())


def sparse_cosine(a: SparseVector, b: SparseVector) -> float:
    """The cosine of two sparse vectors; 1 if both are empty, 0 if one is."""
    if not len(a.values) or not len(b.values):
        return float(len(a.values) == len(b.values))
    return sparse_dot(a, b) / float(np.linalg.norm(a.values) * np.linalg.norm(b.values))


def max_sim_scores(queries: Sequence[Array], passages: Sequence[Array] | None = None) -> Array:
    """:func:`max_sim` of each query with each passage.

    Args:
        queries: float32 ``[tokens, size]`` for each query.
        passages: float32 ``[tokens, size]`` for each passage; None: the queries.

    Returns:
        float32 ``[queries, passages]``.
    """
    passages = queries if passages is None else passages
    some = [place for place, vectors in enumerate(passages) if len(vectors)]
    scores = np.zeros((len(queries), len(passages)), np.float32)
    if not some:
        return scores
    every = np.concatenate([passages[place] for place in some])
    starts = np.cumsum([0, *(len(passages[place]) for place in some[:-1])])
    for row, query in zip(scores, queries, strict=True):
        if len(query):
            row[some] = np.maximum.reduceat(query @ every.T, starts, axis=1).mean(axis=0)
    return scores


def hybrid_score(
    query: TextOutputs, passage: TextOutputs, weights: Sequence[float] = DEFAULT_WEIGHTS
) -> float:
    """The weighted mean of the scores of the dense vectors, the sparse vectors and the multi-vectors.

    Args:
        query: outputs of the query.
        passage: outputs of the passage.
        weights: of the dense, the sparse and the multi-vector score. An output whose weight is zero is not
            needed. The authors recommend 0.4, 0.2, 0.4 for bge-m3.

    Raises:
        OptionError: an output is missing, or the weights are not three numbers with a sum above zero.
    """
    if len(weights) != 3 or not np.isfinite(weights).all() or min(weights) < 0 or not sum(weights) > 0:
        raise OptionError(f"weights={weights!r}: three numbers of at least 0 and a sum above 0 are needed.")
    scores = zip(weights, (_dense, _sparse, _multi_vector), strict=True)
    return sum(weight * score(query, passage) for weight, score in scores if weight) / sum(weights)


def hybrid_scores(queries: Outputs, passages: Outputs, weights: Sequence[float] = DEFAULT_WEIGHTS) -> Array:
    """:func:`hybrid_score` of each query with each passage, float32 ``[queries, passages]``."""
    rows = [[hybrid_score(query, passage, weights) for passage in passages] for query in queries]
    return np.array(rows, np.float32).reshape(len(queries), len(passages))


def _dense(query: TextOutputs, passage: TextOutputs) -> float:
    if query.dense is None or passage.dense is None:
        raise _missing("dense")
    return float(query.dense @ passage.dense)


def _sparse(query: TextOutputs, passage: TextOutputs) -> float:
    if query.sparse is None or passage.sparse is None:
        raise _missing("sparse")
    return sparse_dot(query.sparse, passage.sparse)


def _multi_vector(query: TextOutputs, passage: TextOutputs) -> float:
    if query.multi_vector is None or passage.multi_vector is None:
        raise _missing("multi_vector")
    return max_sim(query.multi_vector, passage.multi_vector)


def _missing(output: str) -> OptionError:
    return OptionError(f"the {output} output is missing; encode with it, or set its weight to 0.")
