"""A served reranker or classifier: its bundle, and the scoring that all interfaces share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import TextTooLongError
from m3e_runtime.manifest import MANIFEST_NAME, Manifest
from m3e_runtime.reranker import Reranker
from m3e_runtime.scheduling import AsyncReranker, Priority
from m3e_serve.errors import ApiError
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings

__all__ = ["Scored", "ServedReranker"]


@dataclass(frozen=True)
class Scored:
    """Logits, float32 ``[n, labels]``, and what they cost.

    ``cut`` is the number of inputs that were truncated. The seconds are those of tokenization, in the queue,
    and in the engine.
    """

    logits: npt.NDArray[np.float32]
    tokens: int
    cut: int
    tokenize_seconds: float
    queue_seconds: float
    compute_seconds: float


class ServedReranker:
    """A bundle and its scheduler.

    Attributes:
        name: the model name in requests.
        reranker: the loaded bundle.
        scheduler: the asynchronous reranker, which batches requests.
        created: the bundle's time of creation, in seconds since 1970.
    """

    def __init__(self, name: str, reranker: Reranker, settings: ServeSettings, metrics: Metrics) -> None:
        self.name = name
        self.reranker = reranker
        self.created = int((reranker.bundle.path / MANIFEST_NAME).stat().st_mtime)
        self._metrics = metrics.of_model(name)
        self._timeout = settings.request_timeout
        self.scheduler = AsyncReranker(
            reranker,
            limits=settings.queue,
            on_run=lambda report: self._metrics.record_run(report, self.scheduler.waiting_tokens),
        )
