"""The parts of an artifact's section that show scores: their differences, and what changed most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.report.markup import Markup, element, visible
from m3e_export.report.pieces import facts, table
from m3e_export.score_gate import ScoreComparison, ScoreGate

__all__ = ["score_differences", "worst_scores"]

_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "largest": 1.0}

Array = npt.NDArray[np.float32]


def score_differences(gate: ScoreGate, comparison: ScoreComparison) -> Markup:
    """A column with the distribution of the differences, beside the spread of the original's logits."""
    found = {name: np.quantile(comparison.differences, share) for name, share in _QUANTILES.items()}
    spread = f"{gate.vectors.min():.3f} to {gate.vectors.max():.3f}, deviation {gate.vectors.std():.3f}"
    heading = element("h3", "Differences of logits ", element("small", "absolute"))
    shown = facts(
        {
            **{name: f"{value:.1e}" for name, value in found.items()},
            "original's logits": spread,
            "not counted in orders": f"differences below {gate.resolution:.1e}",
        }
    )
    return element("div", heading, shown)


def worst_scores(gate: ScoreGate, artifact: str, comparison: ScoreComparison) -> Markup:
    """The queries whose passages changed their order most, or the texts whose logits differ most."""
    of_queries = gate.ranks and bool(gate.passages)
    what = "queries whose passages changed their order most" if of_queries else "scores that differ most"
    heading = element("h3", f"The {len(comparison.worst)} {what}")
    show = _query if of_queries else _text
    articles = (show(gate, artifact, comparison, place) for place in comparison.worst)
    return element("div", heading, *articles, class_="worst")


def _query(gate: ScoreGate, artifact: str, comparison: ScoreComparison, group: slice) -> Markup:
    place = gate.groups.index(group)
    before, after = gate.vectors[group, 0], comparison.scores[group, 0]
    was, now = _places(before), _places(after)
    rows = [
        [
            element("td", visible(gate.passages[group.start + at], 90)),
            str(was[at]),
            element("td", str(now[at]), class_="number" if now[at] == was[at] else "number new"),
            f"{before[at]:.4f}",
            f"{after[at]:.4f}",
        ]
        for at in np.argsort(was)
    ]
    title = element(
        "p",
        element("span", f"nDCG@10 {comparison.ndcg[place]:.4f}", class_="cosine"),
        " ",
        element("span", visible(gate.texts[group.start]), class_="text"),
        element("small", f" {comparison.kept[place]:.1%} of the orders kept"),
    )
    heading = ["passage", "original's place", f"{artifact}'s", "original's score", f"{artifact}'s"]
    return element("article", title, table(heading, rows))


def _places(scores: Array) -> list[int]:
    """The place of each passage, from 1."""
    order = np.argsort(-scores, kind="stable")
    places = np.empty(len(scores), int)
    places[order] = np.arange(1, len(scores) + 1)
    return [int(place) for place in places]


def _text(gate: ScoreGate, artifact: str, comparison: ScoreComparison, row: slice) -> Markup:
    passage = (" | ", visible(gate.passages[row.start])) if gate.passages else ()
    title = element(
        "p",
        element("span", f"{comparison.differences[row.start]:.1e}", class_="cosine"),
        " ",
        element("span", visible(gate.texts[row.start]), *passage, class_="text"),
    )
    rows = [_logits("original", gate.vectors[row.start]), _logits(artifact, comparison.scores[row.start])]
    return element("article", title, table(["", "largest logits, by the number of the label"], rows, words=2))


def _logits(name: str, logits: Array, most: int = 5) -> Sequence[str]:
    order = np.argsort(-logits, kind="stable")[:most]
    return [name, ", ".join(f"{label}: {logits[label]:.4f}" for label in order)]
