"""Contestants in processes of their own, and the contest in which they take turns."""

from __future__ import annotations

import json
import math
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.contestants import Place

__all__ = ["Contest", "Worker", "WorkerError", "Workload", "last_words", "prepare"]

_SECONDS_EACH = 0.4  # short workloads repeat for about this long in each turn
_PATIENCE = 30  # seconds that a process gets to end


@dataclass(frozen=True)
class Workload:
    """Texts that are encoded in one call.

    ``calls`` bounds the number of calls in a turn, ``warm`` says how many come before the first turn, and
    ``tail`` asks for the 99th percentile too.
    """

    name: str
    texts: list[str]
    rounds: int
    calls: tuple[int, int] = (1, 1)
    warm: int = 1
    tail: bool = False


class WorkerError(RuntimeError):
    """A contestant's process ended; the message is what it said last."""


class Worker:
    """A contestant's process, which has encoded one text already."""

    def __init__(self, name: str, model: Path, place: Place) -> None:
        started = time.perf_counter()
        # A file, because a pipe that nobody reads would stop a talkative library.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(model), place.device, str(place.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.pid = self._process.pid
        self._listen()
        self.first_vector = time.perf_counter() - started

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for the answer.

        Raises:
            WorkerError: there will be none.
        """
        with suppress(BrokenPipeError):  # its last words tell more
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._listen()

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._wait()
        self._process.stdout.close()
        self._said.close()

    def _listen(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            status = self._wait()
            self._said.seek(0)
            reason = last_words(status, self._said.read().decode(errors="replace"))
            self.close()
            raise WorkerError(reason)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _wait(self) -> int:
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Contest:
    """Contestants that take turns. One that fails is out, with its reason, and the others go on."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.found: dict[str, dict[str, Any]] = {}

    @contextmanager
    def start(
        self, models: dict[str, Path | str], place: Place, starts: int, label: str
    ) -> Iterator[Contest]:
        """Start everyone ``starts`` times, one after the other; the last of each stays until the end."""
        try:
            for name, model in tqdm(models.items(), desc=f"{label}: cold starts"):
                if isinstance(model, str):
                    self.found[name] = {"not_measured": model}
                    continue
                self.found[name] = {"workloads": {}, "size_bytes": _size(model)}
                with self._judged(name):
                    self.found[name]["cold_start_s"] = self._start(name, model, place, starts)
            yield self
        finally:
            for worker in self.workers.values():
                worker.close()

    def ask_all(self, finish: Callable[[str, dict[str, Any]], None] | None = None, **request: Any) -> None:
        """Put one request to everyone; ``finish`` gets each one's name and answer."""
        for name in list(self.workers):
            with self._judged(name):
                answer = self.workers[name].ask(**request)
                if finish is not None:
                    finish(name, answer)

    def alternate(self, workload: Workload, label: str) -> None:
        """Everyone takes a turn in every round, so that a slow minute of the machine hits all alike."""
        calls: dict[str, int] = {}
        seconds: dict[str, list[float]] = {name: [] for name in self.workers}

        def first(name: str, answer: dict[str, Any]) -> None:
            least, most = workload.calls
            calls[name] = max(least, min(most, int(_SECONDS_EACH / min(answer["seconds"]))))

        self.ask_all(first, do="time", texts=workload.texts, repeats=workload.warm)
        for _ in tqdm(range(workload.rounds), desc=f"{label}: {workload.name}"):
            for name in list(self.workers):
                with self._judged(name):
                    answer = self.workers[name].ask(do="time", texts=workload.texts, repeats=calls[name])
                    seconds[name] += answer["seconds"]
        for name in self.workers:
            self.found[name]["workloads"][workload.name] = _summary(seconds[name], workload.tail)

    def vectors(self, texts: list[str], folder: Path) -> dict[str, np.ndarray]:
        """Everyone's vectors of ``texts``, scaled to unit length."""
        vectors: dict[str, np.ndarray] = {}
        file = folder / "vectors.npy"

        def read(name: str, answer: dict[str, Any]) -> None:
            raw = np.load(file).astype(np.float64)
            vectors[name] = raw / np.linalg.norm(raw, axis=1, keepdims=True)

        self.ask_all(read, do="vectors", texts=texts, file=str(file))
        return vectors

    def details(self, texts: list[str]) -> None:
        """Memory, and what each contestant tells of itself."""
        self.ask_all(lambda name, answer: self.found[name].update(answer), do="details", texts=texts)

    def _start(self, name: str, model: Path, place: Place, starts: int) -> float:
        seconds = []
        for _ in range(starts):
            if name in self.workers:
                self.workers.pop(name).close()
            self.workers[name] = Worker(name, model, place)
            seconds.append(self.workers[name].first_vector)
        return statistics.median(seconds)

    @contextmanager
    def _judged(self, name: str) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self.workers.pop(name, None)
            self.found[name] = {"not_measured": str(error)}


def prepare(names: list[str], checkpoint: Path) -> dict[str, Path | str]:
    """Convert the checkpoint for every contestant: a path, or the reason why there is none."""
    models: dict[str, Path | str] = {}
    for name in tqdm(names, desc=f"Preparing {checkpoint.parent.name}"):
        # Apart, so that nothing that a converter holds on to, on a GPU above all, is there when we measure.
        command = [
            "-m",
            "benchmarks.worker",
            "--prepare",
            name,
            str(checkpoint),
            str(checkpoint.parent / name),
        ]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, errors="replace")
        models[name] = (
            last_words(done.returncode, done.stderr) if done.returncode else Path(done.stdout.strip())
        )
    return models


def last_words(status: int, said: str) -> str:
    """What a process that ended too early said last."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it ended without a word"
    return re.sub(r"(?<![\w:/])/\S*/", "", last)  # folders of this machine tell a reader nothing


def _summary(seconds: list[float], tail: bool) -> dict[str, Any]:
    quartiles = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    summary = {"median_s": quartiles[1], "quartiles_s": quartiles, "calls": len(seconds)}
    if tail:
        # The smallest time that 99 % of the calls kept to.
        summary["p99_s"] = sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]
    return summary


def _size(model: Path) -> int:
    """Bytes of the weights on disk."""
    suffixes = (".onnx", ".bin", ".safetensors")
    return sum(file.stat().st_size for file in model.rglob("*") if file.suffix in suffixes)
