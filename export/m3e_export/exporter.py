"""The export: checkpoint in, judged bundle out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export import gate as gate_module
from m3e_export.bundle_writer import entry_of, prepared_folder, write_manifest
from m3e_export.checkpoint import Checkpoint, load_checkpoint
from m3e_export.errors import BelowGateError, OptionError, UnsupportedModelError
from m3e_export.gate import Comparison, Gate
from m3e_export.generic import export_generic
from m3e_export.hubs import HUB_NAMES
from m3e_export.manifest import complete_manifest
from m3e_export.oracle import check_tokens, load_oracle, make_gate
from m3e_export.precision.calibration import Calibration, calibrate
from m3e_export.precision.half import overflowing, too_large, widened
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Search, float_plan
from m3e_export.record import Candidate, ExportRecord
from m3e_export.request import EXPORTERS, PRECISIONS, ExportRequest
from m3e_export.targets import TARGETS, Target
from m3e_export.texts import built_in, gate_texts, read_texts
from m3e_runtime.backends import Backend, native
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError
from m3e_runtime.gpu.tensorrt import EngineOptions, default_profiles
from m3e_runtime.manifest import Artifact, Fidelity
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["default_targets", "export"]

logger = logging.getLogger(__name__)

_LOOKED_AT = 64
"""Texts that are searched for overflow: large activations come from the weights, in nearly every text."""


def default_targets() -> tuple[str, ...]:
    """The native engine and ONNX Runtime, where the engine can judge what is written for it."""
    return ("native", "cpu") if native.missing() is None else ("cpu",)


def export(request: ExportRequest, record: ExportRecord | None = None) -> Bundle:
    """Export a checkpoint; return the opened bundle.

    Args:
        request: what to export.
        record: is told what the gate finds, for a report.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not supported or not trusted.
        BelowGateError: an artifact is not faithful enough. Nothing is left behind.
        DependencyMissingError: a package is missing.
        OptionError: an option's value cannot be used.
    """
    _check_names((request.exporter,), EXPORTERS, "--exporter")
    _check_names(request.precisions, PRECISIONS, "--precision")
    _check_names((request.hub,), HUB_NAMES, "--hub")
    record = record or ExportRecord(request)
    return _export_own(request, record) if request.exporter == "own" else export_generic(request, record)


def _export_own(request: ExportRequest, record: ExportRecord) -> Bundle:
    _check(request)
    with prepared_folder(request.output, request.force) as folder:
        checkpoint = load_checkpoint(
            request.checkpoint,
            pooling=request.pooling,
            route=request.route,
            max_length=request.max_length,
            revision=request.revision,
            hub=request.hub,
        )
        _check_prompt(request, checkpoint)
        if request.oracle != "numpy":
            check_tokens(checkpoint, gate_texts(request.gate), request.gate in ("default", "off"))
        oracle = load_oracle(checkpoint, request.oracle, request.max_length)
        gate = make_gate(oracle, checkpoint.sentence_config, request.gate)
        record.begin(checkpoint, gate)
        artifacts = tuple(_Artifacts(request, checkpoint, gate, folder, record).write_all())
        write_manifest(folder, complete_manifest(checkpoint, gate, artifacts, folder))
    return Bundle.open(request.output)


def _check(request: ExportRequest) -> None:
    _check_names(request.targets or default_targets(), tuple(TARGETS), "--target")
    if request.graph is not None:
        raise OptionError("--graph is for --exporter given; the others write the graph.")
    if "native" in request.targets and (reason := native.missing()):
        raise EngineMissingError(f"--target native: {reason}")
    engines = [name for name in request.targets if TARGETS[name].format == "tensorrt"]
    for name in engines or request.targets or default_targets():
        TARGETS[name].check(request.engine)
    for name, precision in itertools.product(request.targets, request.precisions):
        TARGETS[name].check_precision(precision)


def _check_prompt(request: ExportRequest, checkpoint: Checkpoint) -> None:
    unable = [name for name in request.targets if not TARGETS[name].leaves_out_prompts]
    if unable and not checkpoint.sentence_config.include_prompt:
        raise UnsupportedModelError(
            f"{checkpoint.source}: include_prompt=false is not supported by --target {' '.join(unable)}; "
            "use native, cpu or portable."
        )


def _check_names(given: Sequence[str], known: Sequence[str], option: str) -> None:
    unknown = [value for value in given if value not in known]
    if unknown or not given:
        raise OptionError(f"{option} {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}.")


class _Artifacts:
    """Writes each asked-for artifact and lets the gate judge the written file."""

    def __init__(
        self,
        request: ExportRequest,
        checkpoint: Checkpoint,
        gate: Gate,
        folder: Path,
        record: ExportRecord,
    ) -> None:
        self._request = request
        self._record = record
        self._checkpoint = checkpoint
        self._gate = gate
        self._folder = folder
        tokenizer = checkpoint.text_tokenizer()
        self._token_ids = tokenizer.encode_batch([gate.prompt + text for text in gate.texts])
        self._prompt_length = tokenizer.prompt_length(gate.prompt)

    def write_all(self) -> Iterator[Artifact]:
        """The most precise ones first."""
        precisions = [p for p in PRECISIONS if p in self._request.precisions]
        wanted = self._request.targets or default_targets()
        formats: set[str] = set()
        for precision, name in itertools.product(precisions, (t for t in TARGETS if t in wanted)):
            target = TARGETS[name].specialize(self._checkpoint, precision, self._request.engine)
            file = target.path(self._folder, f"{precision}_{name}", target.format not in formats)
            file.parent.mkdir(exist_ok=True)
            formats.add(target.format)
            yield self._write(precision, name, target, file)

    def _write(self, precision: str, name: str, target: Target, file: Path) -> Artifact:
        problems: list[str] = []
        for plan in self._plans(precision, name, target):
            files = target.save(self._checkpoint, plan, file)
            label = f"Judging {precision} {name}"
            if target.has_twin:
                vectors = self._twin_vectors(target, plan, self._token_ids, label)
            else:
                vectors = _encode(target, file, self._token_ids, label, self._prompt_length)
            if not np.isfinite(vectors).all():
                problems = ["its vectors are not finite numbers"]
                self._keep(precision, name, target, plan, files, problems)
                continue
            comparison = gate_module.compare(self._gate, vectors, precision, target.judged)
            measured = comparison.fidelity
            problems = gate_module.failures(measured)
            self._keep(precision, name, target, plan, files, problems, comparison)
            if not problems or not self._gate.enforced:
                if problems:
                    logger.warning("%s %s is below the gate: %s.", precision, name, "; ".join(problems))
                _tell_wide(plan, precision, name)
                return self._artifact(precision, name, target, plan, files, measured)
            logger.info("%s with mix %s: %s", precision, plan.mix(self._matrices), "; ".join(problems))
        raise BelowGateError(
            f"{precision} for {name} is below the gate: {'; '.join(problems)}. "
            "Nothing was written. Try a higher precision, your own texts (--calibration FILE), or "
            "--gate off to write it anyway."
        )

    def _plans(self, precision: str, name: str, target: Target) -> Iterator[PrecisionPlan]:
        if precision != "int8":
            yield self._holding(float_plan(precision, half_arithmetic=target.half_arithmetic))
            return

        def trial(plan: PrecisionPlan, token_ids: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
            # fp16 arithmetic takes a CPU several times as long, and would change no choice.
            plan = self._holding(dataclasses.replace(plan, compute=np.float32))
            return self._twin_vectors(target, plan, token_ids, None)

        search = Int8Search(self._checkpoint, self._calibration, target.int8, trial)
        with progress_bar(search.steps, "step", f"Searching int8 {name}") as bar:
            for plan in search.plans(bar.update):
                yield self._holding(plan)

    def _holding(self, plan: PrecisionPlan) -> PrecisionPlan:
        """``plan`` with everything in float32 that half precision cannot hold.

        The judge would not always tell: ONNX Runtime computes much of fp16 in float32 on a CPU.
        """
        if plan.storage == np.float32:
            return plan
        plan = widened(plan, self._too_large)
        return widened(plan, self._overflowing) if plan.compute == np.float16 else plan

    @functools.cached_property
    def _too_large(self) -> frozenset[str]:
        return too_large(self._checkpoint.weights)

    @functools.cached_property
    def _overflowing(self) -> frozenset[str]:
        count = min(_LOOKED_AT, len(self._token_ids))
        places = np.linspace(0, len(self._token_ids) - 1, count).astype(int)
        with progress_bar(count, "text", "Looking for overflow") as bar:
            return overflowing(self._checkpoint, [self._token_ids[at] for at in places], bar.update)

    @functools.cached_property
    def _calibration(self) -> Calibration:
        given = self._request.calibration
        texts = built_in("calibration") if given is None else read_texts(given)
        with progress_bar(len(texts), "text", "Calibrating") as bar:
            return calibrate(self._checkpoint, texts, bar.update)

    def _twin_vectors(
        self, target: Target, plan: PrecisionPlan, token_ids: Sequence[TokenIds], label: str | None
    ) -> npt.NDArray[np.float32]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            file = Path(folder) / "twin"
            target.save_twin(self._checkpoint, plan, file)
            return _encode(target, file, token_ids, label)

    def _keep(
        self,
        precision: str,
        name: str,
        target: Target,
        plan: PrecisionPlan,
        files: Sequence[Path],
        problems: Sequence[str],
        comparison: Comparison | None = None,
    ) -> None:
        candidate = Candidate(
            f"{precision}-{name}",
            precision,
            name,
            target.dialect,
            sum(file.stat().st_size for file in files),
            plan.mix(self._matrices),
            self._above(precision, plan),
            tuple(problems),
            comparison,
        )
        self._record.candidates.append(candidate)

    def _above(self, precision: str, plan: PrecisionPlan) -> tuple[str, ...]:
        """The matrices that ``plan`` holds above ``precision``."""
        lowest = plan.quantized if precision == "int8" else set(self._matrices) - plan.wide
        return tuple(name for name in self._matrices if name not in lowest)

    def _artifact(
        self,
        precision: str,
        name: str,
        target: Target,
        plan: PrecisionPlan,
        files: Sequence[Path],
        measured: Fidelity,
    ) -> Artifact:
        files, requires = target.build(files, self._engine_options(target))
        checked: Any = precision
        return Artifact(
            name=f"{precision}-{name}",
            format=target.format,
            dialect=target.dialect,
            precision=checked,
            target=name,
            batch_invariant=target.batch_invariant,
            requires=requires,
            files=tuple(entry_of(self._folder, file) for file in files),
            fidelity=measured,
            layout=target.layout,
            mix=plan.mix(self._matrices),
            kept=self._above(precision, plan),
        )

    def _engine_options(self, target: Target) -> EngineOptions:
        options = self._request.engine
        if options.profiles:
            return options
        profiles = default_profiles(self._checkpoint.max_length, target.layout)
        return dataclasses.replace(options, profiles=profiles)

    @functools.cached_property
    def _matrices(self) -> tuple[str, ...]:
        return tuple(linear.name for linear in self._checkpoint.weights.linears())


def _tell_wide(plan: PrecisionPlan, precision: str, name: str) -> None:
    names = ", ".join(sorted(plan.wide - plan.quantized.keys()))
    if names:
        logger.warning("%s %s: beyond half precision, and kept in float32: %s.", precision, name, names)


def _encode(
    target: Target, file: Path, token_ids: Sequence[TokenIds], label: str | None, prompt_length: int = 0
) -> npt.NDArray[np.float32]:
    """Vectors from a written artifact, one text at a time as a service would; float32 ``[n, dimension]``."""
    engine: Backend = target.load(file, available_threads())
    vectors = []
    with progress_bar(len(token_ids), "text", label or "", show=None if label else False) as bar:
        for ids in token_ids:
            vectors.append(engine.run([ids], [prompt_length] if prompt_length else None)[0])
            bar.update()
    return np.stack(vectors)
