"""The gate for scores: the comparison of a reranker's or classifier's logits with those of the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_runtime.manifest import Precision, ScoreFidelity, ScoreThresholds

__all__ = [
    "DEFAULT_SCORE_THRESHOLDS",
    "ScoreComparison",
    "ScoreGate",
    "compare_scores",
    "score_failures",
]

DEFAULT_SCORE_THRESHOLDS: dict[Precision, ScoreThresholds] = {
    "fp32": ScoreThresholds(max_difference=1e-4),
    "fp16": ScoreThresholds(max_difference=1e-2),
    "int8": ScoreThresholds(order_kept=0.98, ndcg_at_10=0.99),
}

_RESOLUTION = 0.02
_NEAREST = 10
_WORST = 5
_DIGITS = 6

Array = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreGate:
    """What to compare scores on, and the oracle's logits of it, float32 ``[n, labels]``.

    Rerankers are judged on pairs of a query in ``texts`` and a passage in ``passages``; pairs of one query
    follow each other and are a group. Without ``passages``, single texts are judged, as one group.
    ``enforced`` says whether an artifact must pass.
    """

    texts: tuple[str, ...]
    passages: tuple[str, ...]
    oracle_name: str
    vectors: Array
    enforced: bool
    prompt: str = ""

    @cached_property
    def groups(self) -> tuple[slice, ...]:
        """The places of each group."""
        if not self.passages:
            return (slice(0, len(self.texts)),)
        sizes = [len(list(same)) for _, same in groupby(self.texts)]
        return tuple(slice(begin, end) for begin, end in pairwise(accumulate(sizes, initial=0)))

    @property
    def ranks(self) -> bool:
        """Whether the scores rank passages or texts, and do not choose one of several labels."""
        return len(self.vectors.T) == 1

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the oracle's logits."""
        return float(self.vectors.astype(np.float64).std())

    def thresholds(self, precision: Precision) -> ScoreThresholds:
        """The thresholds of ``precision``, with differences in proportion to a :attr:`spread` above 1.

        Rounding errors are relative: logits from -12 to 12 have larger ones than logits from -1 to 1.
        """
        limits = DEFAULT_SCORE_THRESHOLDS[precision]
        if limits.max_difference is None:
            return limits
        scaled = float(f"{limits.max_difference * max(1.0, self.spread):.2e}")
        return msgspec.structs.replace(limits, max_difference=scaled)

    @cached_property
    def resolution(self) -> float:
        """The least difference of the oracle's logits that counts: 2 % of their :attr:`spread`.

        Nobody sees a difference below that: passages that are not relevant at all get nearly the same
        lowest score, and which of them comes first depends on the processor. It leaves out one pair of
        passages in a hundred where the scores are spread like a normal distribution.
        """
        return _RESOLUTION * self.spread


@dataclass(frozen=True, eq=False)
class ScoreComparison:
    """The comparison of one artifact's logits with the oracle's.

    ``scores``, float32 ``[n, labels]``, are the artifact's logits. ``differences``, float64 ``[n]``, are the
    largest absolute difference of each text or pair. ``kept`` and ``ndcg``, float64 ``[groups]``, are the
    measures of each group. ``worst`` are the groups with the lowest nDCG, the lowest first, or, where
    nothing is ranked, the texts whose logits differ most, each a group of its own.
    """

    fidelity: ScoreFidelity
    scores: Array
    differences: Scores
    kept: Scores
    ndcg: Scores
    worst: tuple[slice, ...]

    @property
    def closeness(self) -> float:
        """The largest difference with a minus sign: the more, the closer."""
        return -self.fidelity.max_difference


def compare_scores(
    gate: ScoreGate, scores: Array, precision: Precision, of: Literal["artifact", "graph"] = "artifact"
) -> ScoreComparison:
    """Compare ``scores``, finite logits, float32 ``[n, labels]``, with the oracle's.

    ``of`` says whether the artifact itself computed them, or the graph that it is built from.
    """
    wanted, found = gate.vectors.astype(np.float64), scores.astype(np.float64)
    differences = np.abs(wanted - found)
    counts = [_kept(wanted[group], found[group], gate) for group in gate.groups]
    kept, counted = (np.array(column, np.float64) for column in zip(*counts, strict=True))
    ndcg = np.array([_ndcg(wanted[group], found[group], gate) for group in gate.groups])
    fidelity = ScoreFidelity(
        oracle=gate.oracle_name,
        groups=len(gate.groups),
        pairs=len(gate.texts),
        mean_difference=float(f"{differences.mean():.2e}"),
        max_difference=float(f"{differences.max():.2e}"),
        order_kept=round(float(kept.sum() / counted.sum()) if counted.any() else 1.0, _DIGITS),
        ndcg_at_10=round(float(ndcg.mean()), _DIGITS),
        thresholds=gate.thresholds(precision),
        enforced=gate.enforced,
        of=of,
    )
    shares = np.divide(kept, counted, out=np.ones_like(kept), where=counted > 0)
    furthest = differences.max(axis=1)
    return ScoreComparison(fidelity, scores, furthest, shares, ndcg, tuple(_worst(gate, ndcg, furthest)))


def score_failures(fidelity: ScoreFidelity) -> list[str]:
    """The measures beyond their threshold, in words. NaN is beyond every threshold."""
    limits = fidelity.thresholds
    problems = []
    if limits.max_difference is not None and not fidelity.max_difference <= limits.max_difference:
        problems.append(f"max_difference {fidelity.max_difference} > {limits.max_difference}")
    return problems + [
        f"{name} {getattr(fidelity, name)} < {limit}"
        for name in ("order_kept", "ndcg_at_10")
        if not getattr(fidelity, name) >= (limit := getattr(limits, name))
    ]


def _kept(wanted: Scores, found: Scores, gate: ScoreGate) -> tuple[int, int]:
    """How many orders of two passages, or most likely labels, are the oracle's, and how many count.

    One does not count if the oracle's scores are closer than :attr:`ScoreGate.resolution`.
    """
    if gate.ranks:
        clear = _ahead(wanted, gate.resolution)
        return int((clear & _ahead(found, 0.0)).sum()), int(clear.sum())
    first, second = np.sort(wanted, axis=1)[:, :-3:-1].T
    clear = first - second > gate.resolution
    return int((clear & (wanted.argmax(axis=1) == found.argmax(axis=1))).sum()), int(clear.sum())


def _ahead(scores: Scores, margin: float) -> npt.NDArray[np.bool_]:
    """Whether each passage, a row, has a higher score than each other by more than ``margin``, ``[n, n]``."""
    ahead: npt.NDArray[np.bool_] = scores - scores.T > margin
    return ahead


def _ndcg(wanted: Scores, found: Scores, gate: ScoreGate) -> float:
    """nDCG@10 of the artifact's order; 1 for several labels, which rank nothing.

    ``DCG@10 = Σ g(i) / log2(i + 1)`` over the first ten places i = 1, 2, …, divided by that of the oracle's
    order (K. Järvelin, J. Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002;
    this discount: C. Burges et al., Learning to rank using gradient descent, ICML 2005). The gain of a
    passage is its rank by the oracle, counted from the end: the number of passages that it is clearly ahead
    of, so that passages with nearly the same score have the same gain.
    """
    if not gate.ranks:
        return 1.0
    gains = _ahead(wanted, gate.resolution).sum(axis=1)
    best = _dcg(gains, wanted)
    return _dcg(gains, found) / best if best else 1.0


def _dcg(gains: npt.NDArray[np.int64], scores: Scores) -> float:
    order = np.argsort(-scores[:, 0], kind="stable")[:_NEAREST]
    return float((gains[order] / np.log2(np.arange(len(order)) + 2)).sum())


def _worst(gate: ScoreGate, ndcg: Scores, differences: Scores) -> Iterator[slice]:
    if gate.ranks and gate.passages:
        for group in np.argsort(ndcg, kind="stable")[:_WORST]:
            yield gate.groups[group]
        return
    for place in np.argsort(-differences, kind="stable")[:_WORST].tolist():
        yield slice(place, place + 1)
