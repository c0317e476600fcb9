"""The table of all artifacts of an export: each measure with its threshold."""

from __future__ import annotations

from collections.abc import Sequence

from m3e_export.record import Candidate
from m3e_export.report.markup import Markup, element
from m3e_export.report.pieces import badge, megabytes, table
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import Fidelity

__all__ = ["fidelity_table", "verdict"]

_MEASURES = {
    "mean_cosine": "mean cosine",
    "p1_cosine": "p1",
    "min_cosine": "lowest",
    "overlap_at_10": "ten nearest",
    "spearman": "rank corr.",
}


def fidelity_table(candidates: Sequence[Candidate], bundle: Bundle | None) -> Markup:
    """A row for each artifact. The sizes are those of the bundle, if there is one."""
    sizes = {each.artifact: each.size for each in candidates}
    if bundle is not None:
        for artifact in bundle.manifest.artifacts:
            sizes[artifact.name] = sum(entry.size for entry in artifact.files)
    heading = ["artifact", "gate", "size", *_MEASURES.values()]
    return table(heading, [_row(each, sizes[each.artifact]) for each in candidates], words=2)


def verdict(candidate: Candidate) -> Markup:
    """A badge: whether the candidate passes the gate."""
    return badge("bad", "below") if candidate.problems else badge("good", "passes")


def _row(candidate: Candidate, size: int) -> list[str]:
    link = element("a", candidate.artifact, href=f"#{candidate.artifact}")
    dialect = f", dialect {candidate.dialect}" if candidate.dialect else ""
    form = element("small", f"{candidate.precision} for {candidate.target}{dialect}")
    return [element("th", link, form), verdict(candidate), megabytes(size), *_measures(candidate)]


def _measures(candidate: Candidate) -> list[Markup]:
    if candidate.comparison is None:
        return [element("td", "not finite", class_="number bad")] + [_absent()] * (len(_MEASURES) - 1)
    fidelity = candidate.comparison.fidelity
    return [_measure(fidelity, name) for name in _MEASURES]


def _measure(fidelity: Fidelity, name: str) -> Markup:
    """The figure and its threshold. A sign and a colour mark a failure."""
    value, limit = getattr(fidelity, name), getattr(fidelity.thresholds, name, 0.0)
    digits = 4 if name in ("overlap_at_10", "spearman") else 6
    failed = not value >= limit
    words = f"✗ {value:.{digits}f}" if failed else f"{value:.{digits}f}"
    asked = element("small", f"≥ {limit:g}") if limit else None
    return element("td", words, asked, class_="number bad" if failed else "number")


def _absent() -> Markup:
    return element("td", "–", class_="number")
