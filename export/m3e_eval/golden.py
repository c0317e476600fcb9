"""Golden checks: comparing the results with figures that a checkpoint's authors publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from m3e_eval import published
from m3e_eval.encoder import TextEncoder
from m3e_eval.published import GOLDEN_COSINES, Published

__all__ = ["Check", "check_cosines", "check_scores", "cosines_not_run", "failed"]

Status = Literal["passed", "failed", "not run"]

# The published cosines have four digits and are from an older PyTorch.
_COSINE_TOLERANCE = {"fp32": 0.001, "fp16": 0.002, "int8": 0.02}
# mteb's classifiers and splits have changed: C-MTEB's own two runs differ by 0.004.
_SCORE_TOLERANCE = {"fp32": 0.01, "fp16": 0.01, "int8": 0.015}


@dataclass(frozen=True)
class Check:
    """One published figure and the result. ``reason`` says why the check was not run."""

    name: str
    model: str
    contestant: str | None
    expected: float
    status: Status
    found: float | None = None
    tolerance: float | None = None
    reason: str | None = None


def cosines_not_run(source: str) -> list[Check]:
    """The cosine checks of other checkpoints than ``source``."""
    return [
        Check(
            _cosine_name(golden.first, golden.second),
            model,
            None,
            golden.cosine,
            "not run",
            reason=f"the bundle was made from {source}, not from {model}",
        )
        for model, cosines in GOLDEN_COSINES.items()
        if not published.is_checkpoint(source, model)
        for golden in cosines
    ]


def check_cosines(encoder: TextEncoder, source: str) -> list[Check]:
    """Check the published cosines of the checkpoint ``source`` in ``encoder``. Most checkpoints have none."""
    return [
        _judged(
            _cosine_name(golden.first, golden.second),
            model,
            encoder.name,
            golden.cosine,
            encoder.cosine(golden.first, golden.second),
            _COSINE_TOLERANCE[encoder.precision],
        )
        for model, cosines in GOLDEN_COSINES.items()
        if published.is_checkpoint(source, model)
        for golden in cosines
    ]


def check_scores(
    suite: str,
    table: Published,
    source: str,
    precisions: Mapping[str, str],
    scores: Mapping[tuple[str, str], Mapping[str, float]],
    not_run: Mapping[str, str],
) -> list[Check]:
    """Check every figure of ``table`` for this checkpoint, or one per model if none of its tasks was run.

    Args:
        suite: the suite of the table.
        table: the published scores.
        source: the checkpoint's name in the manifest.
        precisions: the precision of each contestant.
        scores: the scores of each contestant by task and metric.
        not_run: the tasks that were not run, with the reasons.
    """
    model = published.model_of(source, table)
    if model is None or not (scores or not_run):
        return _models_not_run(suite, table, source, model)
    checks: list[Check] = []
    for task, metric in table.rows:
        name, expected = f"{suite}: {task} {metric}", table.scores(task, metric)[model]
        found = scores.get((task, metric), {})
        if not found:
            reason = not_run.get(task, "not among the tasks of this run")
            checks.append(Check(name, model, None, expected, "not run", reason=reason))
        checks += [
            _judged(name, model, who, expected, score, _SCORE_TOLERANCE[precisions[who]])
            for who, score in found.items()
        ]
    return checks


def _models_not_run(suite: str, table: Published, source: str, own: str | None) -> list[Check]:
    task, metric = published.AVERAGE, table.average_metric

    def reason(model: str) -> str:
        if model == published.ADA_002:
            return "a closed model, which cannot be run"
        if model == own:
            return f"--suite {suite} was not run"
        return f"the bundle was made from {source}, not from {model}"

    return [
        Check(f"{suite}: {task} {metric}", model, None, expected, "not run", reason=reason(model))
        for model, expected in table.scores(task, metric).items()
    ]


def _judged(name: str, model: str, contestant: str, expected: float, found: float, tolerance: float) -> Check:
    # NaN fails.
    status: Status = "passed" if abs(found - expected) <= tolerance else "failed"
    return Check(name, model, contestant, expected, status, round(found, 6), tolerance)


def _cosine_name(first: str, second: str) -> str:
    return f"cosine {first} ↔ {second}"


def failed(checks: Sequence[Check]) -> list[Check]:
    """The checks that failed."""
    return [check for check in checks if check.status == "failed"]
