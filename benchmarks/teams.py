"""``python -m benchmarks.teams``: predicts how teams of up to 64 threads would compute one short text.

The engine's own forward pass runs with its members one after the other, each alone on a core, so a machine
with few cores can tell how long each phase's slowest member takes. To that comes the waiting of the team for
its members: measured for two threads, assumed to grow with the number of threads, or with its logarithm. Left
out: cores that share memory and power, caches of many cores that hold more, and the waking of threads that
sleep.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from math import log2
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import SHAPES, make_checkpoint
from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants.ours import NativeInt8
from benchmarks.engine_programs import build_program

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_WAIT_MS = 0.18e-3
"""Milliseconds of one wait for each thread: half of what two threads took on an AMD EPYC (Zen 5)."""

Row = dict[str, Any]


def main() -> None:
    """Entry point."""
    parser = make_parser("teams", __doc__, shapes=list(SHAPES))
    parser.add_argument("--tokens", nargs="+", type=int, default=[1, 12, 32, 128])
    options = parser.parse_args()
    program = build_program("teams")
    results = results_head(options) | {"runs": []}
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            bundle = NativeInt8.prepare(
                make_checkpoint(Path(folder) / "checkpoint", shape), Path(folder) / "int8"
            )
            (artifact,) = bundle.rglob("*_native.safetensors")
            command = [program, artifact, "-", ",".join(map(str, _SIZES)), *options.tokens]
            found = json.loads(subprocess.check_output([str(part) for part in command], text=True))
        results["runs"].append({"shape": shape, **found})
    stem = write_results(results, options.output, "teams")
    stem.with_suffix(".md").write_text("\n".join(_table(results)), encoding="utf-8")
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


def _table(results: dict[str, Any]) -> list[str]:
    lines = [
        f"{results['date']}, {results['machine']['processor']}. Predicted milliseconds of one int8 pass. "
        "Waits grow with the number of threads, or, in parentheses, with its logarithm. The rule of "
        "`team_size.cpp` chooses among 64 threads.",
        "",
        "| shape | tokens | " + " | ".join(f"{size}" for size in _SIZES) + " | best | chosen |",
        "|---|---:" + "|---:" * (len(_SIZES) + 2) + "|",
    ]
    for run in results["runs"]:
        lines += [_line(run["shape"], each) for each in run["passes"]]
    return [*lines, ""]


def _line(shape: str, each: Row) -> str:
    linear = {team["size"]: _predicted(team, team["size"]) for team in each["teams"]}
    slow = {team["size"]: _predicted(team, 2 * log2(team["size"])) for team in each["teams"]}
    cells = " | ".join(f"{linear[size]:.2f} ({slow[size]:.2f})" for size in linear)
    best = f"{min(linear, key=linear.__getitem__)} ({min(slow, key=slow.__getitem__)})"
    return f"| {shape} | {each['tokens']} | {cells} | {best} | {each['chosen']} |"


def _predicted(team: Row, threads: float) -> float:
    waiting: float = team["waits"] * _WAIT_MS * threads if team["size"] > 1 else 0
    return waiting + float(team["ms"])


if __name__ == "__main__":
    main()
