"""The HTML report: scores beside those of the original, and the differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from m3e_eval.evaluate import Evaluation, Row
from m3e_eval.golden import Check, failed
from m3e_eval.published import ADA_002
from m3e_eval.report import by_suite, published_models, remarks_on_data, sources
from m3e_export.report.differences import difference_chart
from m3e_export.report.markup import Markup, element, visible
from m3e_export.report.page import page
from m3e_export.report.pieces import badge, facts, section, table

__all__ = ["evaluation_page"]

_WORDS = 2


def evaluation_page(found: Evaluation) -> str:
    """The report as an HTML document."""
    source = found.bundle.manifest.source.id
    return page(
        f"{source}: evaluation report",
        [
            element(
                "header",
                element("p", "m3e-eval", class_="quiet"),
                element("h1", visible(source)),
                element("p", *_states(found)),
            ),
            section("Evaluation", _facts(found), _contestants(found)),
            *(_suite(found, suite, rows) for suite, rows in by_suite(found).items()),
            *([section("Golden checks", _checks(found.checks))] if found.checks else []),
            *([section("Not run", _not_run(found))] if found.not_run else []),
        ],
    )


def _states(found: Evaluation) -> list[Markup]:
    states = []
    if wrong := failed(found.checks):
        states.append(badge("bad", f"golden checks: {len(wrong)} failed"))
    if found.not_run:
        states.append(badge("warn", f"{len(found.not_run)} not run"))
    return states or [badge("good", "all tasks and checks were run")]


def _facts(found: Evaluation) -> Markup:
    manifest = found.bundle.manifest
    return facts(
        {
            "bundle": visible(str(found.bundle.path)),
            "checkpoint": visible(manifest.source.id),
            "architecture": manifest.source.model_type,
            "dimension": str(manifest.output_dimension),
            "scored by": f"mteb {found.mteb}",
            "baseline of differences": found.baseline or "none",
        }
    )


def _contestants(found: Evaluation) -> Markup:
    rows = [[each.name, each.precision, each.engine, f"{each.seconds:.1f} s"] for each in found.contestants]
    return table(["contestant", "precision", "engine", "all tasks took"], rows, words=3)


def _suite(found: Evaluation, suite: str, rows: Sequence[Row]) -> Markup:
    others = [each.name for each in found.contestants if each.name != found.baseline]
    differences = [(f"{row.task} {row.metric}", _points(found, row)) for row in rows]
    drawn = [(label, values) for label, values in differences if values]
    remarks = [element("p", words, class_="kept quiet") for words in sources(found, suite)]
    heading = element("h3", f"Difference from {found.baseline} ", element("small", "in points of 100"))
    chart = [heading, difference_chart(drawn, others)] if drawn else []
    return section(suite, _scores(found, rows), *remarks, *_data(rows), *chart)


def _points(found: Evaluation, row: Row) -> dict[str, float]:
    return {name: 100 * difference for name, (difference, _) in found.loss(row).items()}


def _scores(found: Evaluation, rows: Sequence[Row]) -> Markup:
    names, models = [each.name for each in found.contestants], published_models(rows)
    body = [
        [
            _task(row),
            row.metric,
            *(_score(found, row, name) for name in names),
            *(_number(row.published.get(model)) for model in models),
        ]
        for row in rows
    ]
    published = [f"{model}*" if model == ADA_002 else model for model in models]
    return table(["task", "metric", *names, *published], body, words=_WORDS)


def _task(row: Row) -> Markup:
    return element("th", visible(row.task), element("small", " ".join(filter(None, [row.type, row.split]))))


def _score(found: Evaluation, row: Row, name: str) -> Markup:
    """The score and its difference to the baseline."""
    difference, relative = found.loss(row).get(name, (math.nan, math.nan))
    below = None
    if not math.isnan(difference):
        share = "" if math.isnan(relative) else f" ({relative:+.2%})"
        below = element("small", f"{difference:+.4f}{share}")
    return element("td", _number(row.scores.get(name)), below, class_="number")


def _number(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def _data(rows: Sequence[Row]) -> list[Markup]:
    return [element("p", visible(words), class_="kept quiet") for words in remarks_on_data(rows)]


def _checks(checks: Sequence[Check]) -> Markup:
    kinds = {"passed": "good", "failed": "bad", "not run": "warn"}
    rows = [
        [
            visible(check.name),
            badge(kinds[check.status], check.status),
            check.contestant or check.reason or "",
            check.model,
            f"{check.expected:.4f}",
            _number(check.found),
            "–" if check.tolerance is None else f"{check.tolerance:g}",
        ]
        for check in sorted(checks, key=lambda check: check.status != "failed")
    ]
    heading = ["check", "result", "contestant, or why not", "model", "published", "found", "within"]
    return table(heading, rows, words=4)


def _not_run(found: Evaluation) -> Markup:
    rows = [
        [visible(each.task), each.suite, each.contestant or "all", visible(each.reason)]
        for each in found.not_run
    ]
    return table(["task", "suite", "contestant", "why"], rows, words=4)
