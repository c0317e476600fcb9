"""The command ``m3e-export``: from a checkpoint to a bundle."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from m3e_export.checkpoint.pooling import POOLINGS
from m3e_export.extras import extra_packages
from m3e_export.hubs.option import add_hub_option
from m3e_export.printed_table import report
from m3e_export.report.export import reported
from m3e_export.report.token_lines import token_json
from m3e_export.request import EXPORTERS, PRECISIONS, TARGET_NAMES, ExportRequest
from m3e_runtime.bundle import Bundle
from m3e_runtime.command_line import run
from m3e_runtime.file_names import shown
from m3e_runtime.gpu.tensorrt import EngineOptions
from m3e_runtime.json_text import json_text
from m3e_runtime.manifest import Artifact
from m3e_runtime.standard_output import say

__all__ = ["add_report", "as_json", "default_output", "main", "report", "tell_report"]

_DEFAULT_CHECKPOINT = "moka-ai/m3e-base"
_EXAMPLES = """\
examples:
  m3e-export --precision fp16                         download moka-ai/m3e-base, write ./m3e-base-fp16
  m3e-export OWNER/NAME --hub modelscope              download from ModelScope
  m3e-export ./my-finetune --precision int8 -o out    export a local folder in int8
  m3e-export ./my-finetune --precision fp32 int8      write both precisions into one bundle
  m3e-export ./my-finetune --precision int8 --calibration texts.jsonl --gate heldout.jsonl
  m3e-export ./my-finetune --precision int8 --report int8.html    show which texts int8 changes most
  m3e-export ./my-reranker --precision int8 --gate queries.jsonl    judge a reranker on your own queries
  m3e-export --precision fp16 --target cuda           write a graph for ONNX Runtime on an NVIDIA GPU
  m3e-export --precision fp16 --target tensorrt-rtx --compute-capability 8.9    build an engine without a GPU
  m3e-export ./my-electra --exporter torch            export another model family through torch.onnx
  m3e-export ./my-onnx-folder --exporter given        bundle the ONNX graph in the folder

exit codes: 0 success, 1 the bundle cannot be written, 2 wrong usage, 3 an artifact does not pass the gate,
            4 the input is unreadable or untrusted, 5 a package or GPU is missing or an engine cannot be
            built, 130 interrupted, 143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run(_command, _parser(), argv)


def _command(options: argparse.Namespace) -> int:
    with extra_packages():
        from m3e_export.exporter import export
    request = ExportRequest(
        checkpoint=options.checkpoint,
        output=options.output or default_output(options.checkpoint, _suffixes(options)),
        precisions=tuple(options.precision),
        targets=tuple(options.target),
        calibration=options.calibration,
        max_length=options.max_length,
        pooling=options.pooling,
        gate=options.gate,
        oracle=options.oracle,
        engine=EngineOptions(
            compute_capabilities=tuple(options.compute_capability),
            hardware_compatible=options.hardware_compatible,
            strip_weights=options.strip_weights,
            refit=options.refit,
            timing_cache=options.timing_cache,
        ),
        force=options.force,
        revision=options.revision,
        hub=options.hub,
        exporter=options.exporter,
        graph=options.graph,
        route=options.route,
        bfloat16=options.bfloat16,
    )
    with reported(request, options.report) as record:
        bundle = export(request, record)
        found = as_json(bundle, options.report)
        say(json_text(found, ascii_only=False) if options.json else report(bundle))
    tell_report(options.report, "m3e-export")
    return 0


def tell_report(file: Path | None, command: str) -> None:
    """Print the name of the report, if there is one."""
    if file is not None:
        print(f"{command}: wrote {file}", file=sys.stderr)


def _suffixes(options: argparse.Namespace) -> list[str]:
    """The route and the precisions. A given graph has a precision of its own."""
    route = [] if options.route is None else [options.route]
    return [*route, *(["onnx"] if options.exporter == "given" else options.precision)]


def default_output(checkpoint: str, suffixes: Sequence[str]) -> Path:
    """The last part of the name with the suffixes: ``m3e-base-fp16`` for ``moka-ai/m3e-base``."""
    name = re.split(r"[/\\]", str(checkpoint).rstrip("/\\"))[-1]
    if name in ("", ".", ".."):
        name = Path(checkpoint).resolve().name
    return Path("-".join([name, *suffixes]))


def as_json(bundle: Bundle, report: Path | None = None) -> dict[str, object]:
    """The content of ``--json``: the bundle, its artifacts and, if there is one, its report."""
    return {
        **({} if report is None else {"report": shown(report)}),
        "bundle": shown(bundle.path),
        "source": bundle.manifest.source.id,
        "hub": bundle.manifest.source.hub,
        "revision": bundle.manifest.source.revision,
        "licence": bundle.manifest.licence,
        "artifacts": [
            {
                "name": artifact.name,
                "files": [entry.path for entry in artifact.files],
                "bytes": sum(entry.size for entry in artifact.files),
                "mix": artifact.mix,
                "kept": list(artifact.kept),
                **_fidelity_json(artifact),
                **token_json(artifact),
            }
            for artifact in bundle.manifest.artifacts
        ],
    }


def _fidelity_json(artifact: Artifact) -> dict[str, object]:
    """``fidelity`` or ``score_fidelity``, under its name in the manifest."""
    return {
        name: {field: getattr(found, field) for field in found.__struct_fields__ if field != "thresholds"}
        for name in ("fidelity", "score_fidelity")
        if (found := getattr(artifact, name)) is not None
    }


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add ``--report``, which the quickstart has too."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write an HTML report: cosines or scores, what changes most, "
        "latency on this machine; it is also written when an artifact does not pass the gate",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-export",
        description="Export a trained sentence-embedding checkpoint, reranker or classifier to a bundle and "
        "compare its vectors or scores with those of the original model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        default=_DEFAULT_CHECKPOINT,
        metavar="CHECKPOINT",
        help=f"a local folder or a hub id (default: {_DEFAULT_CHECKPOINT})",
    )
    add(
        "--no-bfloat16",
        dest="bfloat16",
        action="store_false",
        help="in fp16, let the native engine multiply in float32 always: more precise and slower",
    )
    add("--precision", nargs="+", choices=PRECISIONS, default=["fp32"], help="one or more (default: fp32)")
    add(
        "--target",
        nargs="+",
        choices=TARGET_NAMES,
        default=[],
        help="native: weights for the engine of m3e-runtime; cpu: a graph with ONNX Runtime's fused "
        "operators; portable: a graph with standard ONNX operators only; cuda: a graph for ONNX Runtime on "
        "NVIDIA GPUs, fp16 or fp32; cuda-packed: the same for packed batches, without padding; tensorrt: an "
        "engine for the GPU of this machine; tensorrt-rtx: an engine for other GPUs too (default: native "
        "cpu)",
    )
    add(
        "--exporter",
        choices=EXPORTERS,
        default="own",
        help="own: the built-in exporter, the fastest result, for BERT-like families; torch: torch.onnx, "
        "for any model_type of transformers; optimum: Optimum, for the families it supports; given: the "
        "ONNX graph in the folder. All but own write one graph for ONNX Runtime on a CPU (default: own)",
    )
    add(
        "--graph",
        metavar="FILE",
        help="the graph of --exporter given, relative to the folder (default: model.onnx or onnx/model.onnx)",
    )
    add("-o", "--output", type=Path, metavar="DIR", help="bundle folder (default: NAME-PRECISION)")
    add(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="calibration texts for int8: one per line, or .jsonl with a text field (default: 128 built-in "
        "texts); for a reranker or classifier also .jsonl with the fields query and passages",
    )
    add(
        "--gate",
        default="default",
        metavar="default|off|FILE",
        help="the texts to compare vectors or scores on: 256 built-in texts, for a reranker 42 built-in "
        "queries with passages, or FILE, as for --calibration; off: compare, but write the bundle anyway",
    )
    add("--max-length", type=int, metavar="N", help="longest input, in tokens (default: the checkpoint's)")
    add(
        "--pooling",
        choices=POOLINGS,
        help="override the checkpoint's pooling; first_last_avg, last_avg and pooler are those of text2vec, "
        "which its checkpoints do not record",
    )
    add("--route", metavar="NAME", help="the route to export of a model with a Router, such as query")
    add(
        "--oracle",
        choices=("auto", "torch", "numpy"),
        default="auto",
        help="how to run the original model: in PyTorch or in numpy (auto: PyTorch if it is installed)",
    )
    add(
        "--compute-capability",
        nargs="+",
        default=[],
        metavar="N.N",
        help="compute capabilities of a tensorrt-rtx engine, such as 8.6 8.9 (default: 8.0 8.6 8.9 12.0)",
    )
    add("--hardware-compatible", action="store_true", help="let a tensorrt engine run on other GPUs; slower")
    add(
        "--strip-weights",
        action="store_true",
        help="store no weights in the engine (needs a GPU)",
    )
    add("--refit", action="store_true", help="allow the engine's weights to be replaced later (needs a GPU)")
    add(
        "--timing-cache",
        metavar="FILE",
        help="read and update the kernel timings of tensorrt builds",
    )
    add("--revision", metavar="REV", help="branch, tag or commit of a hub checkpoint")
    add_hub_option(parser)
    add("--force", action="store_true", help="replace an existing bundle")
    add_report(parser)
    add("--json", action="store_true", help="print the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
