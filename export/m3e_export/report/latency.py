"""A quick look at how long each artifact of a bundle takes for a text on this machine."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from m3e_runtime.backends.choice import why_not_here
from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import M3EError
from m3e_runtime.manifest import Artifact
from m3e_runtime.progress import progress_bar
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["RUNS", "Latency", "Timing", "measure_latencies", "processor_name"]

RUNS = 15
"""The median of so many is taken, after a few that are not counted."""
_WARM_UP = 3
_SHORT = "How do I change the card linked to my account?"
_LONG = 128
_WORDS = ("how", "do", "I", "change", "the", "card", "of", "my", "account", "如何", "更换", "绑定", "的")


@dataclass(frozen=True)
class Timing:
    """The tokens of a text, and the milliseconds that it takes alone, its tokenizing included."""

    tokens: int
    milliseconds: float


@dataclass(frozen=True)
class Latency:
    """Of a short and a long text in one artifact; or ``reason``, why it has not been measured."""

    artifact: str
    engine: str = ""
    threads: int = 0
    timings: tuple[Timing, ...] = ()
    reason: str | None = None


def measure_latencies(bundle: Bundle) -> list[Latency]:
    """Time every artifact of ``bundle`` that can run here, one model in memory at a time."""
    artifacts = bundle.manifest.artifacts
    with progress_bar(2 * (RUNS + _WARM_UP) * len(artifacts), "run", "Latency") as bar:
        return [_latency(bundle, artifact, bar.update) for artifact in artifacts]


def _latency(bundle: Bundle, artifact: Artifact, tick: Callable[[], object]) -> Latency:
    reason = why_not_here(artifact)
    if reason is not None:
        return Latency(artifact.name, reason=reason)
    try:
        with closing(Encoder.load(bundle.path, artifact=artifact.name)) as encoder:
            timings = tuple(_timings(encoder, tick))
            info = encoder.info
    except M3EError as error:  # the bundle is written: a report without a figure is better than none
        return Latency(artifact.name, reason=str(error))
    engine = " ".join(filter(None, [info["engine"], info["instruction_set"]]))
    return Latency(artifact.name, engine, info["threads"], timings)


def _timings(encoder: Encoder, tick: Callable[[], object]) -> Iterator[Timing]:
    for text in (_SHORT, _long_text(encoder.tokenizer)):
        times = []
        for _ in range(_WARM_UP + RUNS):
            started = time.perf_counter()
            encoder.encode(text, prompt="")
            times.append(time.perf_counter() - started)
            tick()
        yield Timing(len(encoder.tokenizer.encode(text)), statistics.median(times[_WARM_UP:]) * 1e3)


def _long_text(tokenizer: TextTokenizer) -> str:
    """Words one after the other, of 128 tokens or a few less; of fewer where the model takes fewer."""
    text = _WORDS[0]
    for place in range(1, _LONG + len(_WORDS)):  # a word has a token at least
        longer = f"{text} {_WORDS[place % len(_WORDS)]}"
        if len(tokenizer.encode(longer)) <= _LONG:
            text = longer
    return text


def processor_name() -> str:
    """The processor's name as Linux tells it, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
