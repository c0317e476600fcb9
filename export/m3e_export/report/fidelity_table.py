"""The table of all artifacts of an export: each measure with its threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from m3e_export.record import Candidate
from m3e_export.report.markup import Markup, element
from m3e_export.report.pieces import badge, megabytes, table
from m3e_export.score_gate import ScoreComparison
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import Fidelity, ScoreFidelity

__all__ = ["fidelity_table", "verdict"]

_MEASURES = {
    "mean_cosine": "mean cosine",
    "p1_cosine": "p1",
    "min_cosine": "lowest",
    "overlap_at_10": "ten nearest",
    "spearman": "rank corr.",
}
_SCORE_MEASURES = {
    "mean_difference": "mean difference",
    "max_difference": "largest",
    "order_kept": "orders kept",
    "ndcg_at_10": "nDCG@10",
}


def fidelity_table(candidates: Sequence[Candidate], bundle: Bundle | None) -> Markup:
    """A row for each artifact. The sizes are those of the bundle, if there is one."""
    sizes = {each.artifact: each.size for each in candidates}
    if bundle is not None:
        for artifact in bundle.manifest.artifacts:
            sizes[artifact.name] = sum(entry.size for entry in artifact.files)
    measures = _measures_of(candidates)
    heading = ["artifact", "gate", "size", *measures.values()]
    return table(heading, [_row(each, sizes[each.artifact], measures) for each in candidates], words=2)


def _measures_of(candidates: Sequence[Candidate]) -> Mapping[str, str]:
    """The names of the measures and the headings of their columns."""
    scores = any(isinstance(each.comparison, ScoreComparison) for each in candidates)
    return _SCORE_MEASURES if scores else _MEASURES


def verdict(candidate: Candidate) -> Markup:
    """A badge: whether the candidate passes the gate."""
    return badge("bad", "below") if candidate.problems else badge("good", "passes")


def _row(candidate: Candidate, size: int, measures: Mapping[str, str]) -> list[str]:
    link = element("a", candidate.artifact, href=f"#{candidate.artifact}")
    dialect = f", dialect {candidate.dialect}" if candidate.dialect else ""
    form = element("small", f"{candidate.precision} for {candidate.target}{dialect}")
    return [element("th", link, form), verdict(candidate), megabytes(size), *_measures(candidate, measures)]


def _measures(candidate: Candidate, measures: Mapping[str, str]) -> list[Markup]:
    if candidate.comparison is None:
        return [element("td", "not finite", class_="number bad")] + [_absent()] * (len(measures) - 1)
    fidelity = candidate.comparison.fidelity
    return [_measure(fidelity, name) for name in measures]


def _measure(fidelity: Fidelity | ScoreFidelity, name: str) -> Markup:
    """The figure and its threshold. A sign and a colour mark a failure."""
    if name.endswith("_difference"):
        return _difference(fidelity, name)
    value, limit = getattr(fidelity, name), getattr(fidelity.thresholds, name, 0.0)
    digits = 6 if name.endswith("_cosine") else 4
    failed = not value >= limit
    words = f"✗ {value:.{digits}f}" if failed else f"{value:.{digits}f}"
    asked = element("small", f"≥ {limit:g}") if limit else None
    return element("td", words, asked, class_="number bad" if failed else "number")


def _difference(fidelity: Fidelity | ScoreFidelity, name: str) -> Markup:
    """The figure, which its threshold bounds from above."""
    value, limit = getattr(fidelity, name), getattr(fidelity.thresholds, name, None)
    failed = limit is not None and not value <= limit
    asked = None if limit is None else element("small", f"≤ {limit:g}")
    return element("td", f"{'✗ ' * failed}{value:.1e}", asked, class_="number bad" if failed else "number")


def _absent() -> Markup:
    return element("td", "–", class_="number")
