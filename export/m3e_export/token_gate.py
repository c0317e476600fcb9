"""The gate for sparse vectors and multi-vectors: the comparison of an artifact's with the oracle's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_runtime.hybrid import max_sim_scores, sparse_cosine
from m3e_runtime.manifest import (
    MAX_SIM_TOKENS,
    MultiVectorFidelity,
    Precision,
    SparseFidelity,
    TokenFidelity,
    TokenThresholds,
)
from m3e_runtime.token_outputs import SparseVector

__all__ = ["TOKEN_THRESHOLDS", "GateTokens", "TokenVerdict", "judge_tokens", "places_judged"]

TOKEN_THRESHOLDS: dict[Precision, TokenThresholds] = {
    "fp32": TokenThresholds(sparse_cosine=0.9999, top_100=0.99, order_kept=0.999),
    "fp16": TokenThresholds(sparse_cosine=0.999, top_100=0.98, order_kept=0.99),
    "int8": TokenThresholds(sparse_cosine=0.99, top_100=0.95, order_kept=0.95),
}
_MOST_TEXTS = 256  # their MaxSim with each other takes seconds
_TOP = 100
_TIE = 1e-5
"""Scores that differ by less are tied: another order of float32 sums may swap them."""
_DIGITS = 6

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GateTokens:
    """The oracle's outputs of tokens for some of the gate's texts.

    ``places`` are the indices of the texts among the gate's, int64 ``[n]``. ``sparse`` and ``multi_vector``
    have an entry for each of them, or are None if the model does not have that output. Multi-vectors are cut
    to the first :data:`m3e_runtime.manifest.MAX_SIM_TOKENS` vectors. ``queries`` are those of the texts as
    queries, if the model encodes these differently.
    """

    places: npt.NDArray[np.int64]
    sparse: tuple[SparseVector, ...] | None
    multi_vector: tuple[Array, ...] | None
    queries: tuple[Array, ...] | None = None

    @staticmethod
    def of(
        places: npt.NDArray[np.int64],
        sparse: Sequence[SparseVector | None],
        multi_vector: Sequence[Array | None],
        queries: Sequence[Array | None] = (),
    ) -> GateTokens:
        """Gather the outputs of each text."""
        return GateTokens(
            places,
            tuple(each for each in sparse if each is not None) or None,
            _first(multi_vector),
            _first(queries),
        )

    def max_sim_scores(self, chosen: npt.NDArray[np.int64] | None = None) -> Array | None:
        """MaxSim of each text as a query with each text, float32 ``[n, n]``; of ``chosen`` ones if given."""
        if self.multi_vector is None:
            return None
        chosen = np.arange(len(self.places)) if chosen is None else chosen
        queries = self.multi_vector if self.queries is None else self.queries
        return max_sim_scores([queries[at] for at in chosen], [self.multi_vector[at] for at in chosen])


def _first(vectors: Sequence[Array | None]) -> tuple[Array, ...] | None:
    return tuple(each[:MAX_SIM_TOKENS] for each in vectors if each is not None) or None


@dataclass(frozen=True)
class TokenVerdict:
    """The gate's verdict on the outputs of tokens. ``problems`` names each measure below its threshold."""

    fidelity: TokenFidelity | None
    problems: tuple[str, ...]


def places_judged(texts: int) -> npt.NDArray[np.int64]:
    """The indices of the texts that are judged, spread over all: int64 ``[n]``."""
    return np.linspace(0, texts - 1, min(_MOST_TEXTS, texts)).astype(np.int64)


def judge_tokens(wanted: GateTokens, found: GateTokens, precision: Precision) -> TokenVerdict:
    """Compare an artifact's outputs of tokens with the oracle's for the same texts."""
    if not _all_finite(found):
        return TokenVerdict(None, ("its outputs of tokens are not finite numbers",))
    fidelity = TokenFidelity(
        texts=len(wanted.places),
        sparse=_sparse(wanted.sparse, found.sparse),
        multi_vector=_multi_vector(wanted, found),
        thresholds=TOKEN_THRESHOLDS[precision],
    )
    return TokenVerdict(fidelity, tuple(_failures(fidelity)))


def _all_finite(found: GateTokens) -> bool:
    vectors = [*(found.multi_vector or ()), *(found.queries or ())]
    arrays = [*(each.values for each in found.sparse or ()), *vectors]
    return all(np.isfinite(each).all() for each in arrays)


def _sparse(
    wanted: tuple[SparseVector, ...] | None, found: tuple[SparseVector, ...] | None
) -> SparseFidelity | None:
    if wanted is None or found is None:
        return None
    cosines = [sparse_cosine(a, b) for a, b in zip(wanted, found, strict=True)]
    shared = [_shared(_top(a), _top(b)) for a, b in zip(wanted, found, strict=True)]
    return SparseFidelity(_rounded(np.mean(cosines)), _rounded(np.min(cosines)), _rounded(np.mean(shared)))


def _top(vector: SparseVector) -> set[int]:
    """The token ids with the largest weights."""
    best = np.argsort(-vector.values, kind="stable")[:_TOP]
    return set(vector.indices[best].tolist())


def _shared(a: set[int], b: set[int]) -> float:
    """The share of the larger set that both have."""
    return len(a & b) / max(len(a), len(b), 1) if a or b else 1.0


def _multi_vector(wanted: GateTokens, found: GateTokens) -> MultiVectorFidelity | None:
    before, after = wanted.max_sim_scores(), found.max_sim_scores()
    if before is None or after is None:
        return None
    kept = [_order_kept(*rows) for rows in zip(_others(before), _others(after), strict=True)]
    difference = float(f"{np.abs(before - after).max():.2e}")
    return MultiVectorFidelity(_rounded(np.mean(kept)), difference)


def _others(scores: Array) -> Array:
    """The scores of each query with the other texts, ``[n, n - 1]``."""
    count = len(scores)
    others: Array = scores[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    return others


def _order_kept(before: Array, after: Array) -> float:
    """The share of pairs with the same order in both, or whose scores before are tied."""
    first, second = np.triu_indices(len(before), k=1)
    if not len(first):
        return 1.0
    distance = before[first] - before[second]
    same = np.sign(distance) == np.sign(after[first] - after[second])
    return float((same | (np.abs(distance) < _TIE)).mean())


def _failures(fidelity: TokenFidelity) -> list[str]:
    """The measures below their threshold, in words."""
    limits, sparse, vectors = fidelity.thresholds, fidelity.sparse, fidelity.multi_vector
    measured = []
    if sparse is not None:
        measured += [
            ("sparse mean_cosine", sparse.mean_cosine, limits.sparse_cosine),
            ("sparse top_100", sparse.top_100, limits.top_100),
        ]
    if vectors is not None:
        measured.append(("multi_vector order_kept", vectors.order_kept, limits.order_kept))
    return [f"{name} {value} < {limit}" for name, value, limit in measured if not value >= limit]


def _rounded(value: np.floating[np.typing.NBitBase] | float) -> float:
    return round(float(value), _DIGITS)
