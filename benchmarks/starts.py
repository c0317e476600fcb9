"""``python -m benchmarks.starts``: from a new process to the first vector.

Three programs take turns: Python with :class:`m3e_runtime.Encoder`, the executable ``m3e`` (named by
``--m3e``), and Python that only loads the tokenizer with the package ``tokenizers``. Each encodes one text
with an int8 bundle of m3e-small's shape, and of multilingual-e5-small's with XLM-RoBERTa's vocabulary. Files
are in the page cache. Reported are medians: seconds until the first byte of output, and the largest resident
memory up to there.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.checkpoints import make_checkpoint
from benchmarks.command import make_parser, results_head, write_results
from benchmarks.multilingual import make_multilingual_checkpoint
from benchmarks.workers import prepare

_TEXT = "今天天气很好"
_PIPE = 4096
"""Bytes that a pipe holds: less than every program prints. So it still runs when its memory is read."""
_ENCODER = """
import sys
from m3e_runtime import Encoder
vector = Encoder.load(sys.argv[1], threads=1).encode(sys.argv[2])
print(vector.tolist(), flush=True)
"""
_TOKENIZERS = """
import sys
from tokenizers import Tokenizer
ids = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json").encode(sys.argv[2]).ids
print(ids, " " * 8192, flush=True)
"""
_SHAPES: dict[str, Callable[[Path], Path]] = {
    "m3e-small": lambda folder: make_checkpoint(folder, "m3e-small"),
    "multilingual-e5-small": make_multilingual_checkpoint,
}


@dataclass(frozen=True)
class Start:
    """One start of a program."""

    seconds: float
    resident_bytes: int


def main() -> int:
    """Entry point; returns the exit code."""
    parser = make_parser("starts", __doc__)
    parser.add_argument("--m3e", type=Path, help="the executable; without it, it is not measured")
    parser.add_argument("--rounds", type=int, default=15, help="starts of each program (default: 15)")
    options = parser.parse_args()
    results = results_head(options, "rounds") | {"runs": []}
    with tempfile.TemporaryDirectory() as folder:
        for shape, make in _SHAPES.items():
            bundle = prepare(["ours-int8"], make(Path(folder) / shape / "checkpoint"))["ours-int8"]
            if isinstance(bundle, str):
                raise SystemExit(f"the bundle cannot be made: {bundle}")
            results["runs"].append({"shape": shape, **_measure(shape, bundle, options.m3e, options.rounds)})
    stem = write_results(results, options.output, "starts")
    print(f"{_table(results['runs'])}\n{stem}.json")
    return 0


def _measure(shape: str, bundle: Path, executable: Path | None, rounds: int) -> dict[str, Any]:
    programs = {
        "Encoder": [sys.executable, "-c", _ENCODER, str(bundle), _TEXT],
        "tokenizers alone": [sys.executable, "-c", _TOKENIZERS, str(bundle), _TEXT],
    }
    if executable is not None:
        programs["m3e embed"] = [str(executable), "embed", str(bundle)]
    starts: dict[str, list[Start]] = {name: [] for name in programs}
    for _ in tqdm(range(rounds + 1), desc=shape):
        for name, command in programs.items():
            starts[name].append(_start(command))
    return {"programs": {name: _summary(found[1:]) for name, found in starts.items()}}


def _start(command: list[str]) -> Start:
    """Run ``command`` with the text on stdin; the first byte of its output ends the time."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pipesize=_PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{_TEXT}\n".encode())
    process.stdin.close()
    first = process.stdout.read(1)
    seconds = time.perf_counter() - begin
    resident = _largest_resident(process.pid) if first else 0
    process.stdout.read()
    process.stdout.close()
    if process.wait() or not first:
        raise SystemExit(f"{command[0]} failed")
    return Start(seconds, resident)


def _largest_resident(pid: int) -> int:
    """Bytes. ``wait4`` would count this process too, of which the other one is a fork."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _summary(starts: list[Start]) -> dict[str, Any]:
    return {
        "seconds": statistics.median(start.seconds for start in starts),
        "resident_bytes": statistics.median(start.resident_bytes for start in starts),
    }


def _table(runs: list[dict[str, Any]]) -> str:
    lines = ["| shape | program | first vector, s | resident, MB |", "|---|---|---|---|"]
    for run in runs:
        for name, found in run["programs"].items():
            megabytes = found["resident_bytes"] / 1e6
            lines.append(f"| {run['shape']} | {name} | {found['seconds']:.3f} | {megabytes:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
