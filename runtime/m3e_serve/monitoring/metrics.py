"""Prometheus metrics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from m3e_runtime.scheduling import Encoded, RunReport
from m3e_serve.tasks import Task

__all__ = ["CONTENT_TYPE", "MULTIPROCESS_VARIABLE", "Metrics", "ModelMetrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Folder in which worker processes store their metrics. Set it before this module is imported."""

_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512),
    *(1, 2, 4, 8, 16, 32, 64),
)
_TOKENIZE_SECONDS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("m3e_requests", "Responses.", ("route", "status"), registry=registry)
        self.duration = Histogram(
            "m3e_request_seconds",
            "Seconds from the headers of a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rejected = Counter(
            "m3e_rejected",
            "Requests and connections rejected to protect the service.",
            ("reason",),
            registry=registry,
        )
        self.in_flight = Gauge(
            "m3e_requests_in_flight", "Requests in flight.", multiprocess_mode="livesum", registry=registry
        )
        self._waiting = Gauge(
            "m3e_waiting_tokens",
            "Tokens that are waiting or being computed.",
            ("model",),
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._models = Gauge(
            "m3e_model_info",
            "1 for each served model, with its task: embed, rerank or classify.",
            ("model", "task"),
            multiprocess_mode="max",
            registry=registry,
        )
        self._padding = Counter(
            "m3e_padding_tokens", "Padding tokens computed.", ("model",), registry=registry
        )

        self._truncated = Counter(
            "m3e_truncated_texts",
            "Texts, or pairs of texts, that were truncated at the model's limit.",
            ("model",),
            registry=registry,
        )

        def histogram(name: str, description: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(name, description, ("model",), buckets=buckets, registry=registry)

        self._queue = histogram("m3e_queue_seconds", "Seconds that a request waited in the queue.", _SECONDS)
        self._tokenize = histogram(
            "m3e_tokenize_seconds", "Seconds to tokenize a request.", _TOKENIZE_SECONDS
        )
        self._compute = histogram("m3e_compute_seconds", "Seconds of a run of the engine.", _SECONDS)
        self._batch_tokens = histogram("m3e_batch_tokens", "Tokens in a run, without padding.", _TOKENS)
        self._batch_texts = histogram("m3e_batch_texts", "Texts, or pairs of texts, in a run.", _TEXTS)
        self._request_texts = histogram(
            "m3e_request_texts", "Texts, or pairs of texts, in a computed request.", _TEXTS
        )

    def of_model(self, name: str, task: Task) -> ModelMetrics:
        """The metrics of one model."""
        self._models.labels(name, task).set(1)
        return ModelMetrics(self, name)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, including those of other worker processes."""
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder is None:
            return generate_latest(self._registry)
        _remove_dead_workers(Path(folder))
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)


class ModelMetrics:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._queue = metrics._queue.labels(name)
        self._tokenize = metrics._tokenize.labels(name)
        self._compute = metrics._compute.labels(name)
        self._batch_tokens = metrics._batch_tokens.labels(name)
        self._batch_texts = metrics._batch_texts.labels(name)
        self._request_texts = metrics._request_texts.labels(name)
        self._padding = metrics._padding.labels(name)
        self._truncated = metrics._truncated.labels(name)
        self._waiting = metrics._waiting.labels(name)

    def record_request(self, tokenize_seconds: float, encoded: Encoded, truncated: int = 0) -> None:
        """Record a computed request, and how many of its texts were truncated."""
        self._truncated.inc(truncated)
        self._tokenize.observe(tokenize_seconds)
        self._queue.observe(encoded.queue_seconds)
        self._request_texts.observe(len(encoded.vectors))

    def record_run(self, report: RunReport, waiting_tokens: int) -> None:
        """Record a run of the engine."""
        self._compute.observe(report.seconds)
        self._batch_tokens.observe(report.tokens)
        self._batch_texts.observe(report.texts)
        self._padding.inc(report.computed_tokens - report.tokens)
        self._waiting.set(waiting_tokens)


def _remove_dead_workers(folder: Path) -> None:
    """Remove the gauges of dead workers, which would otherwise stay in the sums."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
