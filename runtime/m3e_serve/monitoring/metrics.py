"""What is counted and measured, for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from m3e_runtime.scheduling import Encoded, RunReport

__all__ = ["CONTENT_TYPE", "MULTIPROCESS_VARIABLE", "Metrics", "ModelMetrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which worker processes leave their figures. Set it before this module is imported."""

_SECONDS = (
    0.0005,
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.064,
    0.128,
    0.256,
    0.512,
    1,
    2,
    4,
    8,
    16,
    32,
    64,
)
_MICROSECONDS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("m3e_requests", "Answers sent.", ("route", "status"), registry=registry)
        self.duration = Histogram(
            "m3e_request_seconds", "From a request's headers to its answer.", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.rejected = Counter(
            "m3e_rejected", "Requests refused to protect the service.", ("reason",), registry=registry
        )
        self.in_flight = Gauge(
            "m3e_requests_in_flight",
            "Requests being answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._queue = Histogram(
            "m3e_queue_seconds",
            "From tokenized to computed.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokenize = Histogram(
            "m3e_tokenize_seconds", "Tokenizing a request.", ("model",), buckets=_MICROSECONDS,
            registry=registry,
        )  # fmt: skip
        self._compute = Histogram(
            "m3e_compute_seconds", "One run of the engine.", ("model",), buckets=_SECONDS, registry=registry
        )
        self._batch_tokens = Histogram(
            "m3e_batch_tokens", "Tokens of a run.", ("model",), buckets=_TOKENS, registry=registry
        )
        self._batch_texts = Histogram(
            "m3e_batch_texts", "Texts of a run.", ("model",), buckets=_TEXTS, registry=registry
        )
        self._padding = Counter(
            "m3e_padding_tokens", "Tokens computed for nothing.", ("model",), registry=registry
        )
        self._waiting = Gauge(
            "m3e_waiting_tokens", "Tokens that wait or are being computed.", ("model",),
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip

    def of_model(self, name: str) -> ModelMetrics:
        """Figures of one model."""
        return ModelMetrics(self, name)

    def render(self) -> bytes:
        """All figures, those of all worker processes too."""
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder is None:
            return generate_latest(self._registry)
        _bury(Path(folder))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


class ModelMetrics:
    """What the requests and runs of one model add to."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._queue = metrics._queue.labels(name)
        self._tokenize = metrics._tokenize.labels(name)
        self._compute = metrics._compute.labels(name)
        self._batch_tokens = metrics._batch_tokens.labels(name)
        self._batch_texts = metrics._batch_texts.labels(name)
        self._padding = metrics._padding.labels(name)
        self._waiting = metrics._waiting.labels(name)

    def encoded(self, tokenize_seconds: float, encoded: Encoded) -> None:
        """A request was computed."""
        self._tokenize.observe(tokenize_seconds)
        self._queue.observe(encoded.queue_seconds)

    def ran(self, report: RunReport, waiting_tokens: int) -> None:
        """The engine ran."""
        self._compute.observe(report.seconds)
        self._batch_tokens.observe(report.tokens)
        self._batch_texts.observe(report.texts)
        self._padding.inc(report.computed_tokens - report.tokens)
        self._waiting.set(waiting_tokens)


def _bury(folder: Path) -> None:
    """Gauges of workers that died would be summed for ever."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
