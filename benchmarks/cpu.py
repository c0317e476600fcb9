"""``python -m benchmarks.cpu``: ours against its peers on a CPU, alternating in one run."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import machine
from benchmarks.checkpoints import SHAPES, make_checkpoint
from benchmarks.contestants import BASELINE, CONTESTANTS, load
from benchmarks.older_cpu import PROCESSORS, pretend
from benchmarks.plot import write_plot
from benchmarks.report import write_table
from benchmarks.workloads import SINGLE_LENGTHS, corpus, single

_COLD_STARTS = 3
_TEXTS, _TEXTS_QUICK = 256, 96
_ROUNDS, _ROUNDS_QUICK = {"single": 7, "corpus": 3}, {"single": 3, "corpus": 1}
_SECONDS_EACH = 0.4  # single texts repeat for about this long in each turn


class Worker:
    """A contestant's process."""

    def __init__(self, name: str, model: Path, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, str(model), str(threads)]
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if not self._process.stdout.readline():
            reason = self._process.stderr.read().strip().splitlines()
            raise RuntimeError(reason[-1] if reason else "it ended without a word")
        self.first_vector = time.perf_counter() - started

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for the answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.stderr.close()
        self._process.wait(timeout=30)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds: minutes, rougher")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument(
        "--processor", choices=list(PROCESSORS), help="hide newer instruction sets from everyone"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.processor:
            pretend(options.processor, Path(folder))
        results = {
            "date": datetime.date.today().isoformat(),
            "machine": machine.describe(),
            "quick": options.quick,
            "baseline": BASELINE,
            "runs": [],
        }
        for shape in options.shapes:
            checkpoint = make_checkpoint(Path(folder) / shape / "checkpoint", shape)
            models = dict(_prepare(options.contestants, checkpoint))
            for threads in options.threads:
                results["runs"].append(_measure(shape, threads, models, options.quick, Path(folder)))
    options.output.mkdir(parents=True, exist_ok=True)
    newest = results["machine"]["instruction_sets"][-1:]
    pretended = ["pretended"] if options.processor else []
    marks = [results["date"], *newest, *pretended, *(["quick"] if options.quick else [])]
    stem = options.output / "-".join(["cpu", *marks])
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_table(results, stem.with_suffix(".md"))
    write_plot(results, stem.with_suffix(".png"))
    print(stem.with_suffix(".md").read_text())


def _prepare(names: list[str], checkpoint: Path) -> Iterator[tuple[str, Path | str]]:
    """Convert the checkpoint for every contestant: a path, or the reason why there is none."""
    for name in tqdm(names, desc=f"Preparing {checkpoint.parent.name}"):
        try:
            yield name, load(name).prepare(checkpoint, checkpoint.parent / name)
        except Exception as error:  # a peer's failure is a result, not the end of the run
            yield name, f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _measure(
    shape: str, threads: int, models: dict[str, Path | str], quick: bool, folder: Path
) -> dict[str, Any]:
    texts = corpus(_TEXTS_QUICK if quick else _TEXTS)
    rounds = _ROUNDS_QUICK if quick else _ROUNDS
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, model in tqdm(models.items(), desc=f"{shape}, {threads} threads: cold starts"):
            found[name] = {"workloads": {}}
            try:
                if isinstance(model, str):
                    raise RuntimeError(model)
                starts = []
                for _ in range(1 if quick else _COLD_STARTS):
                    workers[name] = Worker(name, model, threads)
                    stack.callback(workers[name].close)
                    starts.append(workers[name].first_vector)
                found[name] |= {"cold_start_s": statistics.median(starts), "size_bytes": _size(model)}
            except RuntimeError as error:
                found[name] = {"not_measured": str(error)}
        _alternate(workers, found, texts, rounds, f"{shape}, {threads} threads")
        _compare(workers, found, texts, folder)
    return {
        "shape": shape,
        "threads": threads,
        "corpus_tokens": sum(len(t) + 2 for t in texts),
        "found": found,
    }


def _alternate(
    workers: dict[str, Worker], found: dict[str, Any], texts: list[str], rounds: dict[str, int], label: str
) -> None:
    """Everyone takes a turn in every round, so that a slow minute of the machine hits all alike."""
    workloads = {f"{length} tokens": [single(length)] for length in SINGLE_LENGTHS} | {"corpus": texts}
    for workload, content in workloads.items():
        kind = "corpus" if workload == "corpus" else "single"
        repeats = {}
        for name, worker in workers.items():
            once = min(worker.ask(do="time", texts=content, repeats=1 if kind == "corpus" else 3)["seconds"])
            repeats[name] = 1 if kind == "corpus" else max(3, min(100, int(_SECONDS_EACH / once)))
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in tqdm(range(rounds[kind]), desc=f"{label}: {workload}"):
            for name, worker in workers.items():
                seconds[name] += worker.ask(do="time", texts=content, repeats=repeats[name])["seconds"]
        for name, values in seconds.items():
            quartiles = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
            found[name]["workloads"][workload] = {"median_s": quartiles[1], "quartiles_s": quartiles}


def _compare(workers: dict[str, Worker], found: dict[str, Any], texts: list[str], folder: Path) -> None:
    """Cosine with the baseline's vectors, memory, and what the contestant tells of itself."""
    vectors = {}
    for name, worker in workers.items():
        file = folder / "vectors.npy"
        worker.ask(do="vectors", texts=texts, file=str(file))
        raw = np.load(file).astype(np.float64)
        vectors[name] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        found[name] |= worker.ask(do="details", texts=texts)
    for name in workers:
        if BASELINE in vectors:
            found[name]["mean_cosine"] = float((vectors[name] * vectors[BASELINE]).sum(axis=1).mean())


def _size(model: Path) -> int:
    """Bytes of the weights on disk."""
    suffixes = (".onnx", ".bin", ".safetensors")
    return sum(file.stat().st_size for file in model.rglob("*") if file.suffix in suffixes)


if __name__ == "__main__":
    main()
