"""Writing every artifact of a request: each precision for each target, through the gate."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from m3e_export.candidates import Written, first_passing
from m3e_export.checkpoint import Checkpoint
from m3e_export.gate import Gate, judge
from m3e_export.inputs import ModelInputs, model_inputs
from m3e_export.own.chosen_targets import chosen_targets
from m3e_export.own.plans import Plans
from m3e_export.own.vectors import Vectors, artifact_tokens, artifact_vectors, twin_vectors
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.record import ExportRecord
from m3e_export.request import PRECISIONS, ExportRequest
from m3e_export.score_gate import ScoreGate
from m3e_export.targets import TARGETS, Target
from m3e_export.texts.judged import calibration_texts
from m3e_export.token_gate import TokenVerdict, judge_tokens
from m3e_runtime.gpu.tensorrt import EngineOptions, default_profiles
from m3e_runtime.manifest import Artifact, Precision

__all__ = ["ArtifactWriter"]

logger = logging.getLogger(__name__)

_REMEDY = (
    "Try a higher precision, your own texts (--calibration FILE), or --gate off to write the bundle anyway."
)


@dataclass(frozen=True)
class _Wanted:
    """An artifact of the request: its precision, its target and where its model goes."""

    precision: Precision
    target_name: str
    target: Target
    file: Path

    @property
    def label(self) -> str:
        return f"{self.precision} {self.target_name}"


class ArtifactWriter:
    """Writes the artifacts of one request."""

    def __init__(
        self,
        request: ExportRequest,
        checkpoint: Checkpoint,
        gate: Gate | ScoreGate,
        folder: Path,
        record: ExportRecord,
    ) -> None:
        self._request = request
        self._checkpoint = checkpoint
        self._gate = gate
        self._folder = folder
        self._record = record
        self._matrices = tuple(linear.name for linear in checkpoint.weights.linears())
        passages = gate.passages if isinstance(gate, ScoreGate) else ()
        self._inputs = model_inputs(checkpoint, gate.texts, passages, gate.prompt)
        self._prompt_length = checkpoint.text_tokenizer().prompt_length(gate.prompt)
        self._plans = Plans(
            checkpoint,
            self._inputs,
            calibration_texts(request.calibration, checkpoint.classification, bool(passages)),
            self._twin_vectors,
            folder.parent,
            request.bfloat16,
        )

    def write_all(self) -> Iterator[Artifact]:
        """Write and yield the artifacts, the most precise ones first.

        Raises:
            BelowGateError: an artifact does not pass the gate.
        """
        formats: set[str] = set()
        for precision, name in self._names():
            target = TARGETS[name].specialize(self._checkpoint, precision, self._request.engine)
            file = target.path(self._folder, f"{precision}_{name}", target.format not in formats)
            file.parent.mkdir(exist_ok=True)
            formats.add(target.format)
            yield self._write(_Wanted(precision, name, target, file))

    def _names(self) -> Iterator[tuple[Precision, str]]:
        precisions = [each for each in PRECISIONS if each in self._request.precisions]
        wanted = chosen_targets(self._request, self._checkpoint)
        return itertools.product(precisions, [name for name in TARGETS if name in wanted])

    def _write(self, wanted: _Wanted) -> Artifact:
        passed = first_passing(self._candidates(wanted), self._gate, self._record, _REMEDY)
        _warn_of_float32(passed.plan, wanted.label)
        target = wanted.target
        files, requires = target.build(passed.files, self._engine_options(target))
        return passed.artifact(
            self._folder,
            files,
            file_format=target.format,
            requires=requires,
            batch_invariant=target.batch_invariant,
            layout=target.layout,
        )

    def _candidates(self, wanted: _Wanted) -> Iterator[Written]:
        """Write and judge the artifact in one plan after the other, each in the place of the one before."""
        target = wanted.target
        for plan in self._plans.of(wanted.precision, target, wanted.target_name):
            files = target.save(self._checkpoint, plan, wanted.file)
            vectors = self._vectors(wanted, plan)
            tokens = self._judged_tokens(wanted)
            yield Written.judged(
                wanted.precision,
                wanted.target_name,
                target.dialect,
                plan,
                self._matrices,
                files,
                judge(self._gate, vectors, wanted.precision, target.judged),
                tokens,
            )

    def _judged_tokens(self, wanted: _Wanted) -> TokenVerdict | None:
        """The verdict on the outputs of tokens, if the checkpoint has any and the target gives them."""
        heads = self._checkpoint.token_heads
        gate = self._gate.tokens if isinstance(self._gate, Gate) else None
        if heads is None or gate is None or not wanted.target.gives(heads):
            return None
        texts = self._gate.texts
        found = artifact_tokens(wanted.target, wanted.file, self._checkpoint, texts, heads, gate)
        return judge_tokens(gate, found, wanted.precision)

    def _vectors(self, wanted: _Wanted, plan: PrecisionPlan) -> Vectors:
        label = f"Judging {wanted.label}"
        if wanted.target.has_twin:
            return self._twin_vectors(wanted.target, plan, self._inputs, label)
        return artifact_vectors(wanted.target, wanted.file, self._inputs, label, self._prompt_length)

    def _twin_vectors(
        self, target: Target, plan: PrecisionPlan, inputs: ModelInputs, label: str | None = None
    ) -> Vectors:
        return twin_vectors(target, self._checkpoint, plan, self._folder, inputs, label)

    def _engine_options(self, target: Target) -> EngineOptions:
        options = self._request.engine
        if options.profiles:
            return options
        profiles = default_profiles(self._checkpoint.max_length, target.layout)
        return dataclasses.replace(options, profiles=profiles)


def _warn_of_float32(plan: PrecisionPlan, label: str) -> None:
    names = ", ".join(sorted(plan.wide - plan.quantized.keys()))
    if names:
        logger.warning("%s: beyond half precision, and kept in float32: %s.", label, names)
