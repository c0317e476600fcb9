"""The section of a report about one artifact: its fidelity, its matrices, and what changes most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from m3e_export.gate import Comparison, Gate, Neighbour, WorstText
from m3e_export.record import Candidate
from m3e_export.report.fidelity_table import verdict
from m3e_export.report.histogram import cosine_histogram
from m3e_export.report.markup import Markup, element, joined, visible
from m3e_export.report.pieces import section, shares
from m3e_export.report.score_card import score_differences, worst_scores
from m3e_export.score_gate import ScoreComparison, ScoreGate
from m3e_runtime.manifest import Fidelity

__all__ = ["artifact_card", "limits"]

_LIMITS = {"min_cosine": "lowest", "p1_cosine": "p1", "mean_cosine": "mean"}


def limits(fidelity: Fidelity) -> dict[str, tuple[float, bool]]:
    """The thresholds of cosines by the name of the measure, and whether each is met."""
    return {
        words: (limit, getattr(fidelity, name) >= limit)
        for name, words in _LIMITS.items()
        if (limit := getattr(fidelity.thresholds, name))
    }


def artifact_card(trials: Sequence[Candidate], gate: Gate | ScoreGate, first: int) -> Markup:
    """A section about an artifact.

    Args:
        trials: the artifact's candidates. All but the last have failed.
        gate: what it was judged on.
        first: the start of the histogram's scale.
    """
    last = trials[-1]
    parts = [*_reasons(last), *_trials(trials)]
    comparison = last.comparison
    if isinstance(comparison, Comparison):
        beside = _beside(_neighbours(comparison), *_matrices(last))
        parts += [
            element("div", _cosines(comparison, first), beside, class_="columns"),
            _worst(last, comparison, gate.texts),
        ]
    if isinstance(comparison, ScoreComparison) and isinstance(gate, ScoreGate):
        differences = score_differences(gate, comparison)
        parts += [
            element("div", differences, _beside(*_matrices(last)), class_="columns"),
            worst_scores(gate, last.artifact, comparison),
        ]
    return section(last.artifact, *parts, mark=verdict(last), id_=last.artifact)


def _reasons(candidate: Candidate) -> list[Markup]:
    return [element("p", problem, class_="reason") for problem in candidate.problems]


def _trials(trials: Sequence[Candidate]) -> list[Markup]:
    """The list of candidates, unless there is only one."""
    if len(trials) == 1:
        return []
    lines = [
        element("li", f"{_mix(each) or 'as given'}: {'; '.join(each.problems) or 'passes'}")
        for each in trials
    ]
    summary = element("summary", f"{len(trials)} mixtures were tried")
    opened = "" if trials[-1].problems else None
    return [element("details", summary, element("ol", *lines), open=opened)]


def _cosines(comparison: Comparison, first: int) -> Markup:
    heading = element("h3", "Cosines with the original ", element("small", "texts, by cosine"))
    return element("div", heading, cosine_histogram(comparison.cosines, limits(comparison.fidelity), first))


def _beside(*parts: Markup) -> Markup:
    """The column beside the histogram."""
    return element("div", *parts)


def _neighbours(comparison: Comparison) -> Markup:
    return joined([element("h3", "Ten nearest neighbours"), shares(_neighbours_kept(comparison))])


def _matrices(candidate: Candidate) -> list[Markup]:
    if not candidate.mix:
        return []
    mix = {name: candidate.mix[name] for name in sorted(candidate.mix, key=_bits)}
    return [element("h3", "Matrices"), shares(mix), _kept(candidate)]


def _neighbours_kept(comparison: Comparison) -> dict[str, int]:
    if not comparison.worst:
        return {}
    most = len(comparison.worst[0].before)
    lost = Counter(min(3, most - int(shared)) for shared in comparison.shared)
    names = {0: "all stay", 1: "one changes", 2: "two change", 3: "three or more change"}
    return {name: lost[count] for count, name in names.items() if lost[count]}


def _bits(name: str) -> int:
    return int("".join(filter(str.isdigit, name)) or 0)


def _mix(candidate: Candidate) -> str:
    return ", ".join(f"{count} {name}" for name, count in candidate.mix.items())


def _kept(candidate: Candidate) -> Markup:
    if not candidate.kept:
        return element("p", f"All are in {candidate.precision}.", class_="kept quiet")
    if len(candidate.kept) == sum(candidate.mix.values()):
        return element("p", f"None is in {candidate.precision}.", class_="kept")
    names = element("code", ", ".join(candidate.kept))
    return element("p", f"In a higher precision than {candidate.precision}: ", names, class_="kept")


def _worst(candidate: Candidate, comparison: Comparison, texts: Sequence[str]) -> Markup:
    heading = element("h3", f"The {len(comparison.worst)} texts that moved most ", _legend())
    return element(
        "div",
        heading,
        *(_moved(candidate.artifact, each, texts) for each in comparison.worst),
        class_="worst",
    )


def _legend() -> Markup:
    return element(
        "small",
        element("span", "− leaves the nearest", class_="lost"),
        " ",
        element("span", "+ comes in", class_="new"),
        " ",
        element("span", "↑ ↓ changes its place", class_="quiet"),
    )


def _moved(artifact: str, worst: WorstText, texts: Sequence[str]) -> Markup:
    shown = element("span", visible(texts[worst.text]), class_="text")
    title = [element("span", f"{worst.cosine:.6f}", class_="cosine"), " ", shown]
    before, after = _order(worst.before), _order(worst.after)
    lists = element(
        "div",
        _list("original", worst.before, after, "lost", texts),
        _list(artifact, worst.after, before, "new", texts),
        class_="columns",
    )
    if list(before) == list(after):
        summary = element("summary", *title, element("small", "neighbours unchanged"))
        return element("article", element("details", summary, lists))
    return element("article", element("p", *title), lists)


def _order(neighbours: Sequence[Neighbour]) -> dict[int, int]:
    """The place of each text."""
    return {each.text: place for place, each in enumerate(neighbours)}


def _list(
    name: str, neighbours: Sequence[Neighbour], other: dict[int, int], missing: str, texts: Sequence[str]
) -> Markup:
    """One side of the comparison. ``other`` is the other side's order; ``missing`` marks others."""
    items = []
    for place, each in enumerate(neighbours):
        moved = other.get(each.text)
        kind = missing if moved is None else None
        mark = {"lost": "−", "new": "+"}[missing] if moved is None else ""
        if moved is not None and missing == "new" and moved != place:
            mark = "↑" if place < moved else "↓"
        items.append(
            element(
                "li",
                element("span", mark, class_="mark"),
                element("span", f"{each.cosine:.3f}", class_="cosine"),
                element("span", visible(texts[each.text], 90), class_="text"),
                class_=kind,
            )
        )
    return element("div", element("h4", name), element("ol", *items, class_="neighbours"))
