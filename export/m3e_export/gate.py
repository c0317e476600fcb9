"""The gate: the comparison of an artifact's vectors with those of the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from m3e_export.score_gate import ScoreComparison, ScoreGate, compare_scores, score_failures
from m3e_export.token_gate import GateTokens
from m3e_runtime.manifest import Fidelity, GateThresholds, Precision
from m3e_runtime.outputs import normalize

__all__ = [
    "DEFAULT_THRESHOLDS",
    "Comparison",
    "Gate",
    "Neighbour",
    "Verdict",
    "WorstText",
    "compare",
    "failures",
    "judge",
]

DEFAULT_THRESHOLDS: dict[Precision, GateThresholds] = {
    "fp32": GateThresholds(min_cosine=0.99999),
    "fp16": GateThresholds(min_cosine=0.9995),
    "int8": GateThresholds(mean_cosine=0.998, p1_cosine=0.995, overlap_at_10=0.95),
}
_NEIGHBOURS = 10
_WORST = 5
_DIGITS = 6

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Gate:
    """The texts to compare on and the oracle's vectors of them, float32 ``[n, d]``.

    ``enforced`` says whether an artifact must pass. ``prompt`` precedes each text; it is not empty if the
    pooling leaves prompts out, so that this is compared too. ``tokens`` are the oracle's outputs of tokens if
    the checkpoint has any. If ``dense`` is false, the model has no vectors of texts: these are means of
    states, which are compared, and have no thresholds.
    """

    texts: tuple[str, ...]
    oracle_name: str
    vectors: Array
    enforced: bool
    prompt: str = ""
    tokens: GateTokens | None = None
    dense: bool = True


@dataclass(frozen=True)
class Neighbour:
    """A neighbour of a text: its index among the gate's texts, and the cosine of the two."""

    text: int
    cosine: float


@dataclass(frozen=True)
class WorstText:
    """A text whose vector changes much: its index among the gate's texts, and the cosine of its two vectors.

    ``before`` are its nearest neighbours by the oracle's vectors, ``after`` those by the artifact's.
    """

    text: int
    cosine: float
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of one artifact with the oracle.

    ``cosines``, float64 ``[n]``, are the cosines of each text's two vectors, in the order of the gate's
    texts. ``shared``, int64 ``[n]``, counts the nearest neighbours of each text that stay the same. ``worst``
    are the texts with the lowest cosines, the lowest first.
    """

    fidelity: Fidelity
    cosines: npt.NDArray[np.float64]
    shared: npt.NDArray[np.int64]
    worst: tuple[WorstText, ...]

    @property
    def closeness(self) -> float:
        """The lowest cosine: the more, the closer."""
        return self.fidelity.min_cosine


@dataclass(frozen=True, eq=False)
class Verdict:
    """The gate's verdict on an artifact. ``problems`` names each measure below its threshold.

    ``comparison`` is None if the vectors are not finite.
    """

    comparison: Comparison | ScoreComparison | None
    problems: tuple[str, ...]


def judge(
    gate: Gate | ScoreGate,
    vectors: Array,
    precision: Precision,
    of: Literal["artifact", "graph"] = "artifact",
) -> Verdict:
    """Judge the artifact that computed ``vectors``; the arguments are those of :func:`compare`.

    With a :class:`ScoreGate`, they are those of :func:`compare_scores`.
    """
    if not np.isfinite(vectors).all():
        return Verdict(None, ("its vectors are not finite numbers",))
    if isinstance(gate, ScoreGate):
        scored = compare_scores(gate, vectors, precision, of)
        return Verdict(scored, tuple(score_failures(scored.fidelity)))
    comparison = compare(gate, vectors, precision, of)
    return Verdict(comparison, tuple(failures(comparison.fidelity)))


def compare(
    gate: Gate, vectors: Array, precision: Precision, of: Literal["artifact", "graph"] = "artifact"
) -> Comparison:
    """Compare ``vectors``, float32 ``[n, d]``, with the oracle's.

    Dimensions beyond the oracle's are ignored. ``of`` says whether the artifact itself computed the vectors,
    or the graph that it is built from.
    """
    vectors = vectors[:, : gate.vectors.shape[1]]
    expected, found = normalize(gate.vectors), normalize(vectors)
    cosines = np.einsum("nd,nd->n", expected.astype(np.float64), found.astype(np.float64))
    wanted, got = expected @ expected.T, found @ found.T
    before, after = _nearest(wanted), _nearest(got)
    shared = np.array([len(set(a) & set(b)) for a, b in zip(before, after, strict=True)])
    fidelity = Fidelity(
        oracle=gate.oracle_name,
        texts=len(gate.texts),
        mean_cosine=_rounded(cosines.mean()),
        p1_cosine=_rounded(np.quantile(cosines, 0.01)),
        min_cosine=_rounded(cosines.min()),
        max_abs_difference=float(f"{np.abs(vectors - gate.vectors).max():.2e}"),
        overlap_at_10=_rounded(shared.mean() / before.shape[1] if before.size else 1.0),
        spearman=_rounded(_spearman(wanted, got)),
        thresholds=DEFAULT_THRESHOLDS[precision] if gate.dense else GateThresholds(),
        enforced=gate.enforced,
        of=of,
    )
    worst = tuple(
        WorstText(
            int(text),
            float(cosines[text]),
            _neighbours(wanted[text], before[text]),
            _neighbours(got[text], after[text]),
        )
        for text in np.argsort(cosines, kind="stable")[:_WORST]
    )
    return Comparison(fidelity, cosines, shared, worst)


def failures(fidelity: Fidelity) -> list[str]:
    """The measures below their threshold, in words. NaN is below every threshold."""
    return [
        f"{name} {getattr(fidelity, name)} < {limit}"
        for name in fidelity.thresholds.__struct_fields__
        if not getattr(fidelity, name) >= (limit := getattr(fidelity.thresholds, name))
    ]


def _nearest(scores: Array) -> npt.NDArray[np.int64]:
    """The neighbours of each text, the nearest first, without the text itself, ``[n, 10 or fewer]``."""
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    return np.argsort(-others, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(scores) - 1)]


def _neighbours(scores: Array, nearest: npt.NDArray[np.int64]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(int(text), float(scores[text])) for text in nearest)


def _spearman(wanted: Array, got: Array) -> float:
    """Spearman's correlation of the similarities of all pairs. Ties are ignored: floats hardly have any."""
    pairs = np.triu_indices(len(wanted), k=1)
    if len(pairs[0]) < 2:
        return 1.0
    ranks = [np.argsort(np.argsort(scores[pairs], kind="stable"), kind="stable") for scores in (wanted, got)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _rounded(value: float) -> float:
    """Round to six digits: further ones differ between machines."""
    return round(float(value), _DIGITS)
