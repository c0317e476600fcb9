"""The results as a table, a picture and JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from m3e_eval.evaluate import Evaluation, Row
from m3e_eval.golden import Check
from m3e_eval.published import ADA_002
from m3e_export.folders import made_folder
from m3e_runtime.atomic_file import atomic_file
from m3e_runtime.errors import OutputError
from m3e_runtime.file_names import shown
from m3e_runtime.json_text import json_text

__all__ = [
    "SCHEMA_VERSION",
    "as_json",
    "as_markdown",
    "as_text",
    "by_suite",
    "published_models",
    "remarks_on_data",
    "sources",
    "write_files",
]

SCHEMA_VERSION = 1

_DIGITS = 6
_CLOSED = "closed model, published scores only"
_COLORS = ("#777777", "#1f5fa8", "#6aaed6", "#0b7a75", "#7fc8a9", "#a05195", "#d45087", "#ff7c43")


def as_json(found: Evaluation) -> dict[str, Any]:
    """All results, with scores as fractions of one. The baseline has no differences."""
    return {
        "schema_version": SCHEMA_VERSION,
        "bundle": shown(found.bundle.path),
        "source": found.bundle.manifest.source.id,
        "mteb": found.mteb,
        "baseline": found.baseline,
        "contestants": [asdict(each) for each in found.contestants],
        "rows": [_row_json(found, row) for row in found.rows],
        "published": [
            {
                "suite": suite,
                "source": table.source,
                "models": [{"name": model, "closed": model == ADA_002} for model in table.models],
            }
            for suite, table in found.tables.items()
        ],
        "not_run": [asdict(each) for each in found.not_run],
        "golden": [asdict(check) for check in found.checks],
    }


def as_text(found: Evaluation) -> str:
    """Tables for a terminal, then the tasks that were not run and the golden checks."""
    lines = [
        f"{found.bundle.path}: {found.bundle.manifest.source.id}, scored by mteb {found.mteb}",
        *(f"  {c.name}: {c.precision}, {c.engine}" for c in found.contestants),
    ]
    for suite, rows in by_suite(found).items():
        cells = [_heading(found, rows), *(_cells(found, row, rows) for row in rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines += ["", *(_aligned(line, widths) for line in cells), *sources(found, suite)]
    return "\n".join([*lines, *_remarks(found)])


def as_markdown(found: Evaluation) -> str:
    """The results as a Markdown document."""
    lines = [
        f"# Scores of {found.bundle.manifest.source.id}",
        "",
        f"Scored by mteb {found.mteb}. Differences are relative to {found.baseline or 'nothing'}.",
        "",
        *_markdown_table(
            ["contestant", "precision", "engine"],
            [[c.name, c.precision, c.engine] for c in found.contestants],
        ),
    ]
    for suite, rows in by_suite(found).items():
        body = [_cells(found, row, rows) for row in rows]
        lines += ["", f"## {suite}", "", *_markdown_table(_heading(found, rows), body)]
        lines += [line for note in sources(found, suite) for line in ("", note)]
    remarks = _remarks(found)
    return "\n".join([*lines, *("" if not line else f"- {line}" for line in remarks), ""])


def write_files(found: Evaluation, folder: Path) -> list[Path]:
    """Write scores.json, scores.md and, if matplotlib is installed, scores.png: all or none.

    Raises:
        OutputError: a file cannot be written.
    """
    contents = {
        "scores.json": (json_text(as_json(found), ascii_only=False, indent=2) + "\n").encode(),
        "scores.md": as_markdown(found).encode(),
    }
    picture = _plot(found) if found.rows else None
    if picture is not None:
        contents["scores.png"] = picture
    try:
        with made_folder(folder), ExitStack() as stack:
            for name, content in contents.items():
                stack.enter_context(atomic_file(folder / name)).write(content)
    except OSError as error:
        raise OutputError.of(folder, error) from error
    return [folder / name for name in contents]


def _row_json(found: Evaluation, row: Row) -> dict[str, Any]:
    fields = asdict(row)
    fields["scores"] = {name: round(score, _DIGITS) for name, score in row.scores.items()}
    fields["loss"] = {
        name: {
            "difference": round(difference, _DIGITS),
            "relative": None if math.isnan(relative) else round(relative, _DIGITS),
        }
        for name, (difference, relative) in found.loss(row).items()
    }
    return fields


def by_suite(found: Evaluation) -> dict[str, list[Row]]:
    """The rows of each suite."""
    suites: dict[str, list[Row]] = {}
    for row in found.rows:
        suites.setdefault(row.suite, []).append(row)
    return suites


def _heading(found: Evaluation, rows: Sequence[Row]) -> list[str]:
    columns = ["task", "metric"]
    for each in found.contestants:
        columns.append(each.name)
        if _has_losses(found, each.name):
            columns += ["diff", "rel."]
    return [*columns, *(f"{model}*" if model == ADA_002 else model for model in published_models(rows))]


def _cells(found: Evaluation, row: Row, rows: Sequence[Row]) -> list[str]:
    losses = found.loss(row)
    cells = [row.task, row.metric]
    for each in found.contestants:
        cells.append(_number(row.scores.get(each.name)))
        if _has_losses(found, each.name):
            difference, relative = losses.get(each.name, (math.nan, math.nan))
            cells.append("-" if math.isnan(difference) else f"{difference:+.4f}")
            cells.append("-" if math.isnan(relative) else f"{relative:+.2%}")
    return [*cells, *(_number(row.published.get(model)) for model in published_models(rows))]


def _has_losses(found: Evaluation, name: str) -> bool:
    return found.baseline is not None and name != found.baseline


def published_models(rows: Sequence[Row]) -> list[str]:
    """The published models of a suite, in the order of the table."""
    return list(dict.fromkeys(model for row in rows for model in row.published))


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def sources(found: Evaluation, suite: str) -> list[str]:
    """The sources of a suite's published columns."""
    table = found.tables.get(suite)
    if table is None:
        return []
    return [f"Published: {', '.join(table.models)} from {table.source}. *{ADA_002}: {_CLOSED}."]


def _remarks(found: Evaluation) -> list[str]:
    lines = [
        f"{each.contestant + ': ' if each.contestant else ''}{each.task}: not run: {each.reason}"
        for each in found.not_run
    ]
    lines = ["", *lines] if lines else []
    copies = remarks_on_data(found.rows)
    lines += ["", *copies] if copies else []
    checks = [_check_line(check) for check in found.checks]
    return [*lines, "", *checks] if checks else lines


def remarks_on_data(rows: Sequence[Row]) -> list[str]:
    """The tasks that were run on a copy of their data."""
    return list(dict.fromkeys(f"{row.task}: {row.data}" for row in rows if "copy" in row.data))


def _check_line(check: Check) -> str:
    subject = f"golden {check.name}, {check.model} {check.expected:.4f}"
    if check.status == "not run":
        return f"{subject}: not run: {check.reason}"
    return f"{subject}: {check.status}: {check.contestant} {check.found:.4f} (within {check.tolerance})"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*words, *numbers]).rstrip()


def _markdown_table(heading: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    return [line(heading), line(["---"] * len(heading)), *(line(cells) for cells in body)]


def _plot(found: Evaluation) -> bytes | None:
    """A PNG with a panel per suite and a group of bars per task; None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    suites = by_suite(found)
    width = min(20.0, max(6.0, 1.4 * max(map(len, suites.values()))))
    figure, axes = plt.subplots(len(suites), 1, figsize=(width, 3.6 * len(suites)), squeeze=False)
    for axis, (suite, rows) in zip(axes[:, 0], suites.items(), strict=True):
        _panel(axis, found, suite, rows)
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    plt.close(figure)
    return picture.getvalue()


def _panel(axis: Any, found: Evaluation, suite: str, rows: Sequence[Row]) -> None:
    names = [each.name for each in found.contestants]
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        places = np.arange(len(rows)) + (index - (len(names) - 1) / 2) * width
        scores = [row.scores.get(name, math.nan) for row in rows]
        axis.bar(places, scores, width, label=name, color=_COLORS[index % len(_COLORS)])
    for index, model in enumerate(published_models(rows)):
        scores = [row.published.get(model, math.nan) for row in rows]
        label = f"{model}, published"
        axis.plot(
            range(len(rows)), scores, linestyle="", marker="ov^sD"[index % 5], markersize=4, label=label
        )
    axis.set_xticks(range(len(rows)), [f"{row.task}\n{row.metric}" for row in rows], fontsize=7)
    axis.set_ylabel("score")
    axis.set_title(suite, fontsize=9)
    axis.legend(fontsize=6, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.08))
    axis.spines[["top", "right"]].set_visible(False)
