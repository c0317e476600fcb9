"""The export: checkpoint in, judged bundle out."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import m3e_runtime
from m3e_export import fidelity as gate_module
from m3e_export.bundle_writer import entry_of, prepared_folder, write_companions, write_manifest
from m3e_export.checkpoint import Checkpoint, load_checkpoint
from m3e_export.checkpoint.layout import Pooling
from m3e_export.errors import BelowGateError, OptionError
from m3e_export.fidelity import Gate
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import DIALECTS
from m3e_export.oracle import load_oracle
from m3e_export.oracle.choice import OracleName
from m3e_export.precision.calibration import calibrate
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import TRIALS, Int8Search, float_plan
from m3e_export.texts import built_in, read_texts
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import (
    SCHEMA_VERSION,
    Artifact,
    Fidelity,
    GoldenVectors,
    Manifest,
    Source,
    Tokenization,
)
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["PRECISIONS", "TARGETS", "ExportRequest", "export"]

logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "int8")  # most precise first
TARGETS = {"cpu": "onnxruntime", "portable": "standard"}
"""Target → dialect of its graph."""

_GOLDEN_TEXTS = 16


@dataclass(frozen=True)
class ExportRequest:
    """What to export. Field by field the options of ``m3e-export``."""

    checkpoint: str
    output: Path
    precisions: tuple[str, ...] = ("fp32",)
    targets: tuple[str, ...] = ("cpu",)
    calibration: Path | None = None
    max_length: int | None = None
    pooling: Pooling | None = None
    gate: str = "default"
    oracle: OracleName = "auto"
    force: bool = False
    revision: str | None = None


def export(request: ExportRequest) -> Bundle:
    """Export a checkpoint; return the opened bundle.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not supported or not trusted.
        BelowGateError: an artifact is not faithful enough. Nothing is left behind.
        ExportDependencyError: a package is missing.
        OptionError: an option's value cannot be used.
    """
    _check(request)
    with prepared_folder(request.output, request.force) as folder:
        checkpoint = load_checkpoint(
            request.checkpoint,
            pooling=request.pooling,
            max_length=request.max_length,
            revision=request.revision,
        )
        gate = _judge(request, checkpoint)
        artifacts = tuple(_Artifacts(request, checkpoint, gate, folder).write_all())
        write_manifest(folder, _manifest(checkpoint, gate, artifacts, folder))
    return Bundle.open(request.output)


def _check(request: ExportRequest) -> None:
    for given, known, option in (
        (request.precisions, PRECISIONS, "--precision"),
        (request.targets, tuple(TARGETS), "--target"),
    ):
        unknown = [value for value in given if value not in known]
        if unknown or not given:
            raise OptionError(f"{option} {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}.")


def _judge(request: ExportRequest, checkpoint: Checkpoint) -> Gate:
    """Run the original model over the gate's texts."""
    texts = built_in("gate") if request.gate in ("default", "off") else read_texts(Path(request.gate))
    oracle = load_oracle(checkpoint, request.oracle)
    with progress_bar(len(texts), "text", f"Original model ({oracle.name.split()[0]})") as bar:
        reference = oracle.encode(texts, bar.update)
    return Gate(texts, oracle.name, reference, enforced=request.gate != "off")


class _Artifacts:
    """Writes each asked-for artifact and lets the gate judge the written file."""

    def __init__(self, request: ExportRequest, checkpoint: Checkpoint, gate: Gate, folder: Path) -> None:
        self._request = request
        self._checkpoint = checkpoint
        self._gate = gate
        self._folder = folder
        self._token_ids = checkpoint.text_tokenizer().encode_batch(gate.texts)
        (folder / "onnx").mkdir()

    def write_all(self) -> Iterator[Artifact]:
        """The most precise one is ``onnx/model.onnx``, which sentence-transformers and Optimum look for."""
        precisions = [p for p in PRECISIONS if p in self._request.precisions]
        targets = [t for t in TARGETS if t in self._request.targets]
        for index, (precision, target) in enumerate(itertools.product(precisions, targets)):
            name = f"model_{precision}_{target}" if index else "model"
            yield self._write(precision, target, self._folder / "onnx" / f"{name}.onnx")

    def _write(self, precision: str, target: str, file: Path) -> Artifact:
        plans = self._plans(precision, target)
        best: Fidelity | None = None
        for plan in plans:
            files = self._save(plan, target, file)
            vectors = _encode(file, self._token_ids, f"Judging {precision} {target}")
            measured = gate_module.measure(self._gate, vectors, precision)
            problems = gate_module.failures(measured)
            if not problems or not self._gate.enforced:
                if problems:
                    logger.warning("%s %s is below the gate: %s.", precision, target, "; ".join(problems))
                return self._artifact(precision, target, plan, files, measured)
            best = measured
            logger.info("%s with mix %s: %s", precision, plan.mix(self._matrices()), "; ".join(problems))
        assert best is not None  # noqa: S101 - every precision has at least one plan
        raise BelowGateError(
            f"{precision} for {target} is below the gate: {'; '.join(gate_module.failures(best))}. "
            "Nothing was written. Try a higher precision, your own texts (--calibration FILE), or "
            "--gate off to write it anyway."
        )

    def _plans(self, precision: str, target: str) -> Iterator[PrecisionPlan]:
        if precision != "int8":
            yield float_plan(precision, half_arithmetic=target == "portable")
            return
        given = self._request.calibration
        texts = built_in("calibration") if given is None else read_texts(given)
        with progress_bar(len(texts), "text", "Calibrating") as bar:
            calibration = calibrate(self._checkpoint, texts, bar.update)

        def trial(plan: PrecisionPlan, token_ids: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                file = Path(folder) / "trial.onnx"
                self._save(plan, target, file)
                return _encode(file, token_ids, None)

        with progress_bar(TRIALS, "trial", "Searching int8") as bar:
            yield from Int8Search(self._checkpoint, calibration, trial).plans(bar.update)

    def _save(self, plan: PrecisionPlan, target: str, file: Path) -> list[Path]:
        layout = self._checkpoint.layout
        options = GraphOptions(layout.pooling, layout.normalize)
        dialect = DIALECTS[TARGETS[target]]
        model = build_model(self._checkpoint.spec, self._checkpoint.weights, plan, dialect, options)
        return save_model(model, file)

    def _artifact(
        self, precision: str, target: str, plan: PrecisionPlan, files: Sequence[Path], measured: Fidelity
    ) -> Artifact:
        kept: tuple[str, ...] = ()
        if precision == "int8":
            names = (linear.name for linear in self._checkpoint.weights.linears())
            kept = tuple(name for name in names if name not in plan.quantized)
        content: dict[str, Any] = {"precision": precision, "dialect": TARGETS[target]}
        return Artifact(
            name=f"{precision}-{target}",
            format="onnx",
            target=target,
            batch_invariant=False,
            requires={"onnxruntime": "1.22", "opset": "20"},
            files=tuple(entry_of(self._folder, file) for file in files),
            fidelity=measured,
            mix=plan.mix(self._matrices()),
            kept=kept,
            **content,
        )

    def _matrices(self) -> int:
        return sum(1 for _ in self._checkpoint.weights.linears())


def _encode(file: Path, token_ids: Sequence[TokenIds], label: str | None) -> npt.NDArray[np.float32]:
    """Vectors from a written graph, one text at a time as a service would; float32 ``[n, dimension]``."""
    engine = OnnxRuntimeCpu(file, available_threads())
    vectors = []
    with progress_bar(len(token_ids), "text", label or "", show=None if label else False) as bar:
        for ids in token_ids:
            row = ids.astype(np.int64)[None, :]
            vectors.append(engine.run(row, np.ones_like(row))[0])
            bar.update()
    return np.stack(vectors)


def _manifest(checkpoint: Checkpoint, gate: Gate, artifacts: tuple[Artifact, ...], folder: Path) -> Manifest:
    tokenizer, companions = write_companions(folder, checkpoint)
    layout: Any = checkpoint.layout
    # Spread over the texts, so that short and long ones are among them.
    chosen = np.linspace(0, len(gate.texts) - 1, min(_GOLDEN_TEXTS, len(gate.texts))).astype(int)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        exporter=f"m3e-runtime {m3e_runtime.__version__}",
        source=Source(checkpoint.source, checkpoint.weights_sha256, checkpoint.spec.model_type),
        licence=checkpoint.licence,
        dimension=checkpoint.spec.hidden,
        pooling=layout.pooling,
        normalize=layout.normalize,
        tokenization=Tokenization(
            file=tokenizer,
            max_length=checkpoint.max_length,
            pad_token_id=checkpoint.pad_token_id,
        ),
        similarity=layout.similarity,
        prompts=layout.prompts,
        default_prompt_name=layout.default_prompt_name,
        artifacts=artifacts,
        golden=GoldenVectors.pack(tuple(gate.texts[i] for i in chosen), gate.reference[chosen]),
        files=companions,
    )
