"""The export through torch.onnx or Optimum: load the checkpoint, get a graph, write the artifacts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from m3e_export.architectures.custom_code import only_in_custom_code
from m3e_export.bundle_writer import prepared_folder, write_bundle
from m3e_export.candidates import Written, first_passing
from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.refused import refuse_adapters_below, refuse_other_code, refuse_quantized
from m3e_export.checkpoint.source import fetch
from m3e_export.errors import OptionError, UnsupportedModelError
from m3e_export.gate import Gate
from m3e_export.generic.calibration import sample_inputs
from m3e_export.generic.checkpoint import GenericCheckpointFiles
from m3e_export.generic.int8 import int8_mixes
from m3e_export.generic.interface import (
    check_interface,
    requirements,
    settle_inputs,
    settle_outputs,
    states_of,
)
from m3e_export.generic.judge import GraphRun, judge_run
from m3e_export.generic.matrices import find_matrices, normalized
from m3e_export.generic.onnx_folder import from_onnx_folder
from m3e_export.generic.optimum_graph import check_optimum, optimum_graph
from m3e_export.generic.options import check_options
from m3e_export.generic.precision import quantize_embeddings, quantize_products, store_half
from m3e_export.generic.torch_graph import check_torch, torch_graph
from m3e_export.graph import save_model
from m3e_export.oracle import make_gate, original
from m3e_export.precision.half import LARGEST_HALF
from m3e_export.precision.int8 import QuantizedLinear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.record import ExportRecord
from m3e_export.request import PRECISIONS, ExportRequest
from m3e_export.texts import built_in, read_texts
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import DependencyMissingError
from m3e_runtime.manifest import Artifact, Precision
from m3e_runtime.progress import progress_bar

__all__ = ["export_generic"]

_CHECKS: dict[str, Callable[[], None]] = {"torch": check_torch, "optimum": check_optimum}
_GRAPHS: dict[str, Callable[[Any, str], ir.Model]] = {"torch": torch_graph, "optimum": optimum_graph}
_REMEDY = "Try a higher precision, or --gate off to write the bundle anyway."


def export_generic(request: ExportRequest, record: ExportRecord) -> Bundle:
    """Export a checkpoint through torch.onnx, Optimum or a given graph; return the opened bundle.

    Args:
        request: what to export.
        record: collects every candidate and its verdict.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not supported or not trusted.
        BelowGateError: an artifact does not pass the gate. Nothing is written.
        DependencyMissingError: a package is missing; ONNX Runtime is always needed.
        OptionError: an option is not valid with this exporter.
    """
    check_options(request)
    if request.exporter == "given":
        return from_onnx_folder(
            request.checkpoint,
            request.output,
            file=request.graph,
            pooling=request.pooling,
            max_length=request.max_length,
            gate=request.gate,
            force=request.force,
            record=record,
        )
    _CHECKS[request.exporter]()
    if importlib.util.find_spec("onnxruntime") is None:
        raise DependencyMissingError("ONNX Runtime is not installed: `pip install 'm3e-runtime[cpu]'`.")
    with prepared_folder(request.output, request.force) as folder:
        checkpoint, model, gate = _load(request)
        record.begin(checkpoint, gate)
        artifacts = tuple(_ArtifactWriter(request, checkpoint, model, gate, folder, record).write_all())
        write_bundle(folder, checkpoint, gate, artifacts)
    return Bundle.open(request.output)


def _load(request: ExportRequest) -> tuple[BaseCheckpoint, ir.Model, Gate]:
    """The checkpoint, its graph, which outputs states, and the gate."""
    from m3e_export.oracle.transformers_model import load_fast_tokenizer, load_model

    origin = fetch(request.checkpoint, request.revision, request.hub)
    files = GenericCheckpointFiles.read(
        request.checkpoint, origin, request.pooling, request.max_length, request.route, request.hub
    )
    refuse_quantized(files.sentence_config.transformer / "config.json", files.config)
    refuse_other_code(files.sentence_config.transformer / "config.json", files.config)
    if files.sentence_config.adapter is None:
        refuse_adapters_below(files.sentence_config.transformer)
    if only_in_custom_code(files.config):
        raise UnsupportedModelError(
            f"{files.folder}: transformers has no class for this {files.model_type!r} model; use --exporter "
            "own."
        )
    tensors = files.sentence_config.load_weights()
    encoder = load_model(files.config, tensors.arrays)
    tokenizer = load_fast_tokenizer(files.sentence_config, files.model_type)
    with progress_bar(1, "graph", f"Exporting through {request.exporter}", delay=0) as bar:
        model = normalized(_GRAPHS[request.exporter](encoder, files.model_type))
        bar.update()
    check_interface(model.graph, f"model_type {files.model_type!r} through {request.exporter}")
    states = states_of(model.graph)
    checkpoint = files.checkpoint(tokenizer, tensors.sha256, hidden=files.width(states))
    settle_inputs(model)
    oracle = original(checkpoint, request.max_length, encoder)
    return checkpoint, model, make_gate(oracle, files.sentence_config, request.gate)


class _ArtifactWriter:
    """Writes the graph in each precision of the request, through the gate."""

    def __init__(
        self,
        request: ExportRequest,
        checkpoint: BaseCheckpoint,
        model: ir.Model,
        gate: Gate,
        folder: Path,
        record: ExportRecord,
    ) -> None:
        self._request = request
        self._checkpoint = checkpoint
        self._model = model
        self._gate = gate
        self._folder = folder
        self._record = record
        self._token_ids = checkpoint.text_tokenizer().encode_batch(gate.texts)
        self._matrices = find_matrices(model.graph)

    def write_all(self) -> Iterator[Artifact]:
        """Write and yield the artifacts, the most precise first.

        The first is ``onnx/model.onnx``, which other tools look for.
        """
        (self._folder / "onnx").mkdir()
        precisions = [each for each in PRECISIONS if each in self._request.precisions]
        for place, precision in enumerate(precisions):
            name = f"model_{precision}_{self._request.exporter}.onnx" if place else "model.onnx"
            yield self._write(precision, self._folder / "onnx" / name)

    def _write(self, precision: Precision, file: Path) -> Artifact:
        passed = first_passing(self._candidates(precision, file), self._gate, self._record, _REMEDY)
        return passed.artifact(
            self._folder, passed.files, file_format="onnx", requires=requirements(self._model)
        )

    def _candidates(self, precision: Precision, file: Path) -> Iterator[Written]:
        """Write and judge the graph with one mix of formats after the other."""
        names = [matrix.linear.name for matrix in self._matrices]
        for quantized in self._mixes(precision):
            files = save_model(self._stored(precision, quantized), file)
            run = GraphRun(file, self._token_ids, f"Judging {precision} {self._request.exporter}")
            yield Written.judged(
                precision,
                self._request.exporter,
                "standard",
                self._plan(precision, quantized),
                names,
                files,
                judge_run(self._gate, run, precision),
            )

    def _stored(self, precision: Precision, quantized: Mapping[str, QuantizedLinear]) -> ir.Model:
        """A copy of the graph with its weights in ``precision``."""
        model = self._model.clone()
        if precision == "int8":
            quantize_products(model, quantized)
            quantize_embeddings(model)
        if precision != "fp32":
            store_half(model)
        settle_outputs(model, self._checkpoint)
        return model

    def _mixes(self, precision: Precision) -> Iterator[dict[str, QuantizedLinear]]:
        """Matrices to quantize, the most first."""
        if precision != "int8":
            yield {}
            return
        if not self._matrices:
            name = self._checkpoint.model_type
            raise OptionError(f"--precision int8: {name!r} has no products with matrices to round; use fp16.")
        given = self._request.calibration
        texts = built_in("calibration") if given is None else read_texts(given)
        with progress_bar(len(texts), "text", "Calibrating") as bar:
            token_ids = self._checkpoint.text_tokenizer().encode_batch(texts)
            samples = sample_inputs(self._model, token_ids, bar.update)
        with progress_bar(len(self._matrices), "matrix", "Rounding") as bar:
            yield from int8_mixes(self._matrices, samples, bar.update)

    def _plan(self, precision: Precision, quantized: Mapping[str, QuantizedLinear]) -> PrecisionPlan:
        """The plan that :func:`store_half` and :func:`quantize_products` follow."""
        if precision == "fp32":
            return PrecisionPlan()
        matrices = [matrix.linear for matrix in self._matrices]
        wide = {each.name for each in matrices if np.abs(each.weight).max(initial=0.0) > LARGEST_HALF}
        return PrecisionPlan(np.float16, quantized=quantized, wide=frozenset(wide - quantized.keys()))
