"""From a request to a bundle: load the checkpoint, make the gate, write the artifacts."""

from __future__ import annotations

import dataclasses
import gc
import itertools

from m3e_export.bundle_writer import prepared_folder, write_bundle
from m3e_export.checkpoint import Checkpoint, load_checkpoint
from m3e_export.errors import OptionError, UnsupportedModelError
from m3e_export.gate import Gate
from m3e_export.oracle import check_tokens, load_oracle, load_score_oracle, make_gate, make_score_gate
from m3e_export.oracle.token_outputs import oracle_tokens
from m3e_export.own.artifacts import ArtifactWriter
from m3e_export.own.chosen_targets import chosen_targets
from m3e_export.record import ExportRecord
from m3e_export.request import ExportRequest
from m3e_export.score_gate import ScoreGate
from m3e_export.targets import TARGETS, default_targets
from m3e_export.texts.judged import Judged, judged_texts
from m3e_runtime.backends import native
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError

__all__ = ["export_own"]


def export_own(request: ExportRequest, record: ExportRecord) -> Bundle:
    """Export a checkpoint of a known family; return the opened bundle.

    Args:
        request: what to export. Its names are checked.
        record: collects every candidate and its verdict.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not supported or not trusted.
        BelowGateError: an artifact does not pass the gate. Nothing is written.
        DependencyMissingError: a package is missing.
        OptionError: an option does not fit the targets.
    """
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
        chosen_targets(request, checkpoint)
        judged = judged_texts(request.gate, checkpoint.classification)
        if request.oracle != "numpy":
            check_tokens(checkpoint, judged, request.gate in ("default", "off"))
        gate = _gate(request, checkpoint, judged)
        gc.collect()  # the oracle has the weights a second time, and cycles of references
        record.begin(checkpoint, gate)
        artifacts = tuple(ArtifactWriter(request, checkpoint, gate, folder, record).write_all())
        write_bundle(folder, checkpoint, gate, artifacts)
    return Bundle.open(request.output)


def _gate(request: ExportRequest, checkpoint: Checkpoint, judged: Judged) -> Gate | ScoreGate:
    if checkpoint.classification is None:
        oracle = load_oracle(checkpoint, request.oracle, request.max_length)
        gate = make_gate(oracle, checkpoint.sentence_config, request.gate)
        if checkpoint.token_heads is None:
            return gate
        tokens = oracle_tokens(oracle, checkpoint, gate.texts)
        return dataclasses.replace(gate, tokens=tokens, dense=checkpoint.token_heads.dense)
    scores = load_score_oracle(checkpoint, request.oracle, request.max_length)
    return make_score_gate(scores, judged, enforced=request.gate != "off")


def _check(request: ExportRequest) -> None:
    """Check the options against the targets before anything is loaded."""
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
