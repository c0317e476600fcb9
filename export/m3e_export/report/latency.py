"""The latency of each artifact of a bundle on this machine."""

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
from m3e_runtime.reranker import Reranker
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["RUNS", "Latency", "Timing", "measure_latencies", "processor_name"]

RUNS = 15
"""The number of runs of which the median is taken, after a warm-up."""
_WARM_UP = 3
_SHORT = "How do I change the card linked to my account?"
_LONG = 128
_WORDS = ("how", "do", "I", "change", "the", "card", "of", "my", "account", "如何", "更换", "绑定", "的")


@dataclass(frozen=True)
class Timing:
    """The number of tokens of a text, and the milliseconds that encoding it alone takes."""

    tokens: int
    milliseconds: float


@dataclass(frozen=True)
class Latency:
    """The latency of a short and a long text in one artifact, or the ``reason`` why there is none."""

    artifact: str
    engine: str = ""
    threads: int = 0
    timings: tuple[Timing, ...] = ()
    reason: str | None = None


def measure_latencies(bundle: Bundle) -> list[Latency]:
    """Measure every artifact of ``bundle`` that can run here, one after the other."""
    artifacts = bundle.manifest.artifacts
    with progress_bar(2 * (RUNS + _WARM_UP) * len(artifacts), "run", "Latency") as bar:
        return [_latency(bundle, artifact, bar.update) for artifact in artifacts]


def _latency(bundle: Bundle, artifact: Artifact, tick: Callable[[], object]) -> Latency:
    reason = why_not_here(artifact)
    if reason is not None:
        return Latency(artifact.name, reason=reason)
    try:
        loader = Encoder if bundle.manifest.classification is None else Reranker
        with closing(loader.load(bundle.path, artifact=artifact.name)) as model:
            timings = tuple(_timings(model, tick))
            info = model.info
    except M3EError as error:  # the bundle is written; the report goes on without this figure
        return Latency(artifact.name, reason=str(error))
    engine = " ".join(filter(None, [info["engine"], info["instruction_set"]]))
    return Latency(artifact.name, engine, info["threads"], timings)


def _timings(model: Encoder | Reranker, tick: Callable[[], object]) -> Iterator[Timing]:
    for text in (_SHORT, _long_text(model.tokenizer)):
        times = []
        for _ in range(_WARM_UP + RUNS):
            started = time.perf_counter()
            _run(model, text)
            times.append(time.perf_counter() - started)
            tick()
        yield Timing(len(model.tokenizer.encode(text)), statistics.median(times[_WARM_UP:]) * 1e3)


def _run(model: Encoder | Reranker, text: str) -> None:
    """Encode or score one text. A pair of as many tokens takes as long."""
    if not isinstance(model, Encoder):
        model.logits(text, prompt="")
    elif model.bundle.manifest.gives_dense:
        model.encode(text, prompt="")
    else:
        model.encode_outputs(text, model.given_outputs(), prompt="")


def _long_text(tokenizer: TextTokenizer) -> str:
    """A text of about 128 tokens, or the model's maximum if that is less."""
    text = _WORDS[0]
    for place in range(1, _LONG + len(_WORDS)):  # a word has at least one token
        longer = f"{text} {_WORDS[place % len(_WORDS)]}"
        if len(tokenizer.encode(longer)) <= _LONG:
            text = longer
    return text


def processor_name() -> str:
    """The processor's name from Linux, or else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
