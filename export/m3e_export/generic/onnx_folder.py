"""A bundle of an ONNX graph in a folder, as Optimum or sentence-transformers write it.

Only the graph's inputs and outputs change: see :mod:`m3e_export.generic.interface`.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from m3e_export.bundle_writer import prepared_folder, write_bundle
from m3e_export.candidates import Written, first_passing
from m3e_export.checkpoint import BaseCheckpoint, load_checkpoint
from m3e_export.checkpoint.jsonfile import refuse_pointer
from m3e_export.checkpoint.refused import refuse_quantized
from m3e_export.checkpoint.source import Origin
from m3e_export.checkpoint.tokenizer import load_tokenizer
from m3e_export.checkpoint.weights import graph_files, has_weights
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.gate import Gate
from m3e_export.generic.checkpoint import GenericCheckpointFiles
from m3e_export.generic.interface import (
    OLDEST_OPSET,
    SENTENCE,
    check_interface,
    opset_of,
    requirements,
    settle_inputs,
    settle_outputs,
    states_of,
)
from m3e_export.generic.judge import ITSELF, GraphRun, judge_run
from m3e_export.graph import save_model
from m3e_export.graph.builder import MICROSOFT
from m3e_export.oracle import Oracle, load_oracle, make_gate, original
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.record import ExportRecord
from m3e_export.request import ExportRequest
from m3e_export.targets.base import DialectName
from m3e_export.texts import gate_texts
from m3e_runtime.bundle import Bundle, sha256_of
from m3e_runtime.manifest import Precision

__all__ = ["from_onnx_folder"]

logger = logging.getLogger(__name__)

_STANDARD = {"", "ai.onnx"}
_TARGET = "given"
_REMEDY = "Use --gate off to write the bundle anyway."


def from_onnx_folder(
    folder: str | Path,
    output: str | Path,
    *,
    file: str | None = None,
    pooling: str | None = None,
    max_length: int | None = None,
    gate: str = "default",
    force: bool = False,
    record: ExportRecord | None = None,
) -> Bundle:
    """Make a bundle of the ONNX graph in ``folder``; return the opened bundle.

    The graph outputs ``sentence_embedding``, or ``last_hidden_state``, which is then pooled as the files
    beside it say. The gate compares it with the original model if the folder has its weights, else with
    itself: a text must have the same vector in a batch as alone.

    Args:
        folder: the folder of config.json, the tokenizer and the graph.
        output: the bundle's folder.
        file: the graph, relative to ``folder``; by default ``model.onnx`` or ``onnx/model.onnx``.
        pooling: overrides the folder's pooling.
        max_length: lowers the longest input, in tokens.
        gate: ``default``, ``off``, or a file of texts.
        force: replace an existing bundle.
        record: collects the candidate and its verdict.

    Raises:
        BelowGateError: the graph does not pass the gate. Nothing is written.
        CheckpointError: a file is missing or broken, or the graph's inputs or outputs are not supported.
        OptionError: the value of an option is not valid.
    """
    folder = Path(folder)
    files = GenericCheckpointFiles.read(str(folder), Origin(folder), pooling, max_length)
    source = _find(folder, file)
    model = _load(source)
    check_interface(model.graph, str(source))
    checkpoint = _checkpoint(files, model.graph, source)
    settle_inputs(model)
    settle_outputs(model, checkpoint)
    token_ids = checkpoint.text_tokenizer().encode_batch(gate_texts(gate))
    with prepared_folder(Path(output), force) as work:
        written = _save(model, work / "onnx" / "model.onnx")
        run = GraphRun(written[0], token_ids, "Judging the given graph")
        opened = _gate(files, checkpoint, run, gate)
        record = record or ExportRecord(ExportRequest(str(folder), Path(output), exporter="given"))
        record.begin(checkpoint, opened)
        passed = first_passing([_judged(model, opened, run, written)], opened, record, _REMEDY)
        artifact = passed.artifact(work, written, file_format="onnx", requires=requirements(model))
        # If the graph computes the Dense modules itself, their weights are not read, and cannot be written.
        companions = states_of(model.graph) is not None and len(checkpoint.dense) == len(
            files.sentence_config.dense
        )
        write_bundle(work, checkpoint, opened, (artifact,), companions=companions)
    return Bundle.open(output)


def _find(folder: Path, file: str | None) -> Path:
    candidates = graph_files(folder) if file is None else [folder / file]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        raise CheckpointError(f"{' and '.join(map(str, candidates))}: no graph found; name it with --graph.")
    return found


def _load(file: Path) -> ir.Model:
    for each in (file, *file.parent.glob(f"{file.name}*data")):  # external weights
        refuse_pointer(each)
    try:
        # onnx refuses external weights outside the graph's folder.
        model: ir.Model = ir.from_proto(onnx.load(str(file)))
    except Exception as error:  # errors of protobuf, the checker and the system share no base class
        raise CheckpointError(f"{file}: cannot be read as an ONNX graph ({error}).") from error
    unknown = _domains(model.graph) - {*_STANDARD, MICROSOFT}
    if unknown:
        raise UnsupportedModelError(f"{file}: operators of {', '.join(sorted(unknown))} are not supported.")
    if opset_of(model) < OLDEST_OPSET:
        raise UnsupportedModelError(
            f"{file}: opset {opset_of(model)} is too old; export the graph again with opset {OLDEST_OPSET} "
            "or newer."
        )
    RemoveInitializersFromInputsPass()(model)
    return model


def _domains(graph: ir.Graph) -> set[str]:
    return {node.domain for node in graph}


def _checkpoint(files: GenericCheckpointFiles, graph: ir.Graph, file: Path) -> BaseCheckpoint:
    tokenizer = load_tokenizer(
        files.sentence_config.tokenizer, files.model_type, files.sentence_config.lower_case
    )
    digest, states = sha256_of(file), states_of(graph)
    sentence = next((value for value in graph.outputs if value.name == SENTENCE), None)
    if sentence is None:
        return files.checkpoint(tokenizer, digest, hidden=files.width(states))
    dimension = files.width(sentence)
    hidden = dimension if states is None else files.width(states)
    return files.checkpoint(tokenizer, digest, hidden=hidden, dimension=dimension)


def _save(model: ir.Model, file: Path) -> list[Path]:
    file.parent.mkdir()
    files = save_model(model, file)
    try:
        onnx.checker.check_model(str(file))
    except onnx.checker.ValidationError as error:
        raise CheckpointError(f"the graph is not valid: {error}") from error
    return files


def _gate(files: GenericCheckpointFiles, checkpoint: BaseCheckpoint, run: GraphRun, gate: str) -> Gate:
    """The gate with the original's vectors, or else with the graph's own vectors of single texts."""
    if not has_weights(files.sentence_config.transformer):
        logger.warning("%s: no weights beside the graph; it is compared with itself.", files.folder)
    else:
        try:
            return make_gate(_original(files, checkpoint), files.sentence_config, gate)
        except UnsupportedModelError as error:
            logger.warning("The graph is compared with itself: %s", error)
    vectors = run.alone[:, : files.sentence_config.truncate_dim]
    return Gate(gate_texts(gate), ITSELF, vectors, enforced=gate != "off")


def _original(files: GenericCheckpointFiles, checkpoint: BaseCheckpoint) -> Oracle:
    """The oracle: for any family if PyTorch is installed, else for the built-in families."""
    options: dict[str, Any] = {"pooling": files.pooling, "max_length": files.max_length}
    try:
        return load_oracle(load_checkpoint(str(files.folder), **options), max_length=files.max_length)
    except UnsupportedModelError:
        if any(importlib.util.find_spec(package) is None for package in ("torch", "transformers")):
            raise
    refuse_quantized(files.sentence_config.transformer / "config.json", files.config)
    hidden = files.width(None)
    known = files.checkpoint(checkpoint.tokenizer, checkpoint.weights_sha256, hidden=hidden)
    return original(known, files.max_length)


def _judged(model: ir.Model, gate: Gate, run: GraphRun, files: list[Path]) -> Written:
    precision = _precision(model.graph)
    dialect: DialectName = "onnxruntime" if _domains(model.graph) - _STANDARD else "standard"
    verdict = judge_run(gate, run, precision)
    return Written.judged(precision, _TARGET, dialect, PrecisionPlan(), (), files, verdict)


def _precision(graph: ir.Graph) -> Precision:
    """The narrowest type of a matrix: it decides which thresholds the gate applies."""
    tensors = [value.const_value for value in graph.initializers.values() if value.const_value is not None]
    types = {tensor.dtype for tensor in tensors if len(tensor.shape) > 1}
    if types & {ir.DataType.INT8, ir.DataType.UINT8}:
        return "int8"
    return "fp16" if ir.DataType.FLOAT16 in types else "fp32"
