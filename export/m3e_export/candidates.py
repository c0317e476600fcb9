"""The loop that every exporter runs: write a candidate, judge it, keep the first one that passes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from m3e_export.bundle_writer import entry_of
from m3e_export.errors import BelowGateError
from m3e_export.gate import Comparison, Gate, Verdict
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.record import Candidate, ExportRecord
from m3e_export.score_gate import ScoreComparison, ScoreGate
from m3e_export.targets.base import DialectName
from m3e_export.token_gate import TokenVerdict
from m3e_runtime.manifest import Artifact, Precision

__all__ = ["Written", "first_passing"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """A candidate on disk: its files, the model first, and the plan that they follow."""

    candidate: Candidate
    plan: PrecisionPlan
    files: tuple[Path, ...]

    @staticmethod
    def judged(
        precision: Precision,
        target: str,
        dialect: DialectName | None,
        plan: PrecisionPlan,
        matrices: Sequence[str],
        files: Sequence[Path],
        verdict: Verdict,
        tokens: TokenVerdict | None = None,
    ) -> Written:
        """The candidate for ``target``, whose ``matrices`` follow ``plan``, after the gate's ``verdict``.

        ``tokens`` is its verdict on outputs of tokens.
        """
        candidate = Candidate(
            artifact=f"{precision}-{target}",
            precision=precision,
            target=target,
            dialect=dialect,
            size=sum(file.stat().st_size for file in files),
            mix=plan.mix(matrices),
            kept=plan.kept(precision, matrices),
            problems=verdict.problems + (tokens.problems if tokens else ()),
            comparison=verdict.comparison,
            token_fidelity=None if tokens is None else tokens.fidelity,
        )
        return Written(candidate, plan, tuple(files))

    @property
    def comparison(self) -> Comparison | ScoreComparison:
        """The gate's comparison. A candidate that passed has one."""
        assert self.candidate.comparison is not None  # noqa: S101 - first_passing returns no other
        return self.candidate.comparison

    def artifact(
        self,
        folder: Path,
        files: Sequence[Path],
        *,
        file_format: Literal["onnx", "native", "tensorrt"],
        requires: dict[str, str],
        batch_invariant: bool = False,
        layout: Literal["padded", "packed"] = "padded",
    ) -> Artifact:
        """The manifest's entry, once the gate is passed.

        Args:
            folder: the bundle's.
            files: of the artifact; an engine is more than the graph that was judged.
            file_format: of the first file.
            requires: what the engine must provide.
            batch_invariant: whether a text has the same vector in every batch.
            layout: how the inputs hold a batch.
        """
        known, measured = self.candidate, self.comparison
        return Artifact(
            name=known.artifact,
            format=file_format,
            dialect=known.dialect,
            precision=known.precision,
            target=known.target,
            batch_invariant=batch_invariant,
            requires=requires,
            files=tuple(entry_of(folder, file) for file in files),
            fidelity=measured.fidelity if isinstance(measured, Comparison) else None,
            score_fidelity=measured.fidelity if isinstance(measured, ScoreComparison) else None,
            layout=layout,
            mix=dict(known.mix),
            kept=known.kept,
            token_fidelity=known.token_fidelity,
        )


def first_passing(
    candidates: Iterable[Written], gate: Gate | ScoreGate, record: ExportRecord, remedy: str
) -> Written:
    """Return the first candidate that passes ``gate``; later ones are never written.

    A gate that is not enforced passes every candidate whose vectors are finite, with a warning.

    Args:
        candidates: yields each candidate once its files are written and judged.
        gate: says whether it is enforced.
        record: keeps every candidate.
        remedy: ends the error's message with what to try.

    Raises:
        BelowGateError: no candidate passes.
    """
    last: Candidate | None = None
    for written in candidates:
        last = written.candidate
        record.candidates.append(last)
        problems = "; ".join(last.problems)
        if not problems:
            return written
        if last.comparison is not None and not gate.enforced:
            logger.warning("%s is below the gate: %s.", last.artifact, problems)
            return written
        logger.info("%s with mix %s: %s", last.artifact, dict(last.mix), problems)
    assert last is not None  # noqa: S101 - every exporter has at least one candidate
    if last.comparison is None:
        remedy = "Half precision may overflow: try --precision fp32."
    problems = "; ".join(last.problems)
    raise BelowGateError(f"{last.artifact} is below the gate: {problems}. Nothing was written. {remedy}")
