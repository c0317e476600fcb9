"""The record of an export, from which its report is made, also when an artifact fails the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from m3e_export.gate import Comparison, Gate
from m3e_export.request import ExportRequest
from m3e_export.score_gate import ScoreComparison, ScoreGate
from m3e_runtime.manifest import Precision, TokenFidelity

if TYPE_CHECKING:
    from m3e_export.checkpoint import BaseCheckpoint
    from m3e_export.targets.base import DialectName

__all__ = ["Candidate", "CheckpointFacts", "ExportRecord"]


@dataclass(frozen=True)
class CheckpointFacts:
    """What a report says about a checkpoint. It holds no weights."""

    source: str
    weights_sha256: str
    model_type: str
    licence: str
    dimension: int
    pooling: str
    normalize: bool
    max_length: int
    similarity: str
    prompts: Mapping[str, str]
    include_prompt: bool
    truncate_dim: int | None
    labels: tuple[str, ...] = ()

    @staticmethod
    def of(checkpoint: BaseCheckpoint) -> CheckpointFacts:
        """The facts of ``checkpoint``."""
        sentence_config = checkpoint.sentence_config
        return CheckpointFacts(
            source=checkpoint.source,
            weights_sha256=checkpoint.weights_sha256,
            model_type=checkpoint.model_type,
            licence=checkpoint.licence,
            dimension=checkpoint.dimension,
            pooling=sentence_config.pooling,
            normalize=sentence_config.normalize,
            max_length=checkpoint.max_length,
            similarity=sentence_config.similarity,
            prompts=sentence_config.prompts,
            include_prompt=sentence_config.include_prompt,
            truncate_dim=sentence_config.truncated(checkpoint.dimension),
            labels=() if checkpoint.classification is None else checkpoint.classification.labels,
        )


@dataclass(frozen=True)
class Candidate:
    """A form of an artifact, with the gate's verdict.

    ``mix`` and ``kept`` are as in :class:`m3e_runtime.manifest.Artifact`; ``problems`` and ``comparison`` as
    in :class:`m3e_export.gate.Verdict`. ``token_fidelity`` is there if it gives outputs of tokens.
    """

    artifact: str
    precision: Precision
    target: str
    dialect: DialectName | None
    size: int
    mix: Mapping[str, int]
    kept: tuple[str, ...]
    problems: tuple[str, ...]
    comparison: Comparison | ScoreComparison | None
    token_fidelity: TokenFidelity | None = None


@dataclass
class ExportRecord:
    """The request and the progress of its export. ``candidates`` are in the order of their trial."""

    request: ExportRequest
    checkpoint: CheckpointFacts | None = None
    gate: Gate | ScoreGate | None = None
    candidates: list[Candidate] = field(default_factory=list)

    def begin(self, checkpoint: BaseCheckpoint, gate: Gate | ScoreGate) -> None:
        """Record the checkpoint and the gate, before the first candidate."""
        self.checkpoint, self.gate = CheckpointFacts.of(checkpoint), gate

    def by_artifact(self) -> dict[str, list[Candidate]]:
        """The candidates of each artifact. Only the last one may have passed."""
        found: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            found.setdefault(candidate.artifact, []).append(candidate)
        return found
