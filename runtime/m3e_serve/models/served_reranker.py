"""A served reranker or classifier: its bundle, and the scoring that all interfaces share."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import TextTooLongError
from m3e_runtime.manifest import MANIFEST_NAME, Manifest
from m3e_runtime.pair_inputs import PairInput, with_prompt
from m3e_runtime.reranker import Reranker
from m3e_runtime.scheduling import AsyncReranker, Lane, Priority
from m3e_runtime.scores import ACTIVATIONS
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings
from m3e_serve.tasks import Task

__all__ = ["Scored", "ServedReranker"]

_NUMBER = re.compile(r"^(?:pair|text) (\d+)")


@dataclass(frozen=True)
class Scored:
    """Logits, float32 ``[n, labels]``, and what they cost. ``cut`` is the number of truncated inputs."""

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
        device: name of the GPU, or ``cpu``.
    """

    def __init__(
        self,
        name: str,
        reranker: Reranker,
        settings: ServeSettings,
        metrics: Metrics,
        lane: Lane | None = None,
    ) -> None:
        """Models of one lane take turns."""
        self.name = name
        self.reranker = reranker
        self.created = int((reranker.bundle.path / MANIFEST_NAME).stat().st_mtime)
        self._metrics = metrics.of_model(name, self.task)
        self._timeout = settings.request_timeout
        self.device = str(reranker.info["device"])
        self.scheduler = AsyncReranker(
            reranker,
            limits=settings.queue,
            on_run=lambda report: self._metrics.record_run(report, self.scheduler.waiting_tokens),
            lane=lane,
        )

    @property
    def task(self) -> Task:
        """What the model does."""
        return "rerank" if self.is_reranker else "classify"

    @property
    def is_reranker(self) -> bool:
        """Whether it has one label, the relevance of a passage to a query."""
        return len(self.labels) == 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the logits."""
        return self.reranker.labels

    @property
    def max_length(self) -> int:
        """Most tokens of a text or pair, with special tokens."""
        return self.reranker.max_length

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.reranker.bundle.manifest

    @property
    def precision(self) -> str:
        """The precision of the artifact in use."""
        return self.reranker.artifact.precision

    @property
    def token_budget(self) -> int:
        """Most tokens of a batch."""
        return self.reranker.token_budget

    @property
    def info(self) -> dict[str, Any]:
        """:attr:`m3e_runtime.Reranker.info`."""
        return self.reranker.info

    def close(self) -> None:
        """Free the engine's memory."""
        self.reranker.close()

    async def score(
        self,
        inputs: Sequence[PairInput],
        field: str,
        priority: Priority,
        *,
        truncate: bool,
        keep_end: bool = False,
    ) -> Scored:
        """Score pairs of texts, or single texts.

        Args:
            inputs: tuples of one or two texts, without the checkpoint's prompt.
            field: the request's field with the inputs, for error messages.
            priority: as in :meth:`m3e_runtime.AsyncReranker.predict`.
            truncate: truncate long inputs instead of raising an error.
            keep_end: truncate at the left. Inputs that would have to be are rejected.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncReranker.predict`.
            TextTooLongError: an input is too long, and ``truncate`` is false or ``keep_end`` true.
        """
        start = time.perf_counter()
        pairs = with_prompt(self.reranker.prefix(), list(inputs))
        try:
            tokens = await self.scheduler.tokenize(pairs, priority, truncate and not keep_end)
        except TextTooLongError as error:
            raise self._too_long(str(error), field, truncate) from error
        tokenized = time.perf_counter()
        encoded = await self.scheduler.score_tokens(tokens, priority, self._timeout)
        self._metrics.record_request(tokenized - start, encoded, sum(tokens.cut))
        seconds = time.perf_counter() - tokenized
        return Scored(
            encoded.vectors,
            sum(map(len, tokens.ids)),
            sum(tokens.cut),
            tokenized - start,
            encoded.queue_seconds,
            seconds - encoded.queue_seconds,
        )

    def _too_long(self, message: str, field: str, truncate: bool) -> TextTooLongError:
        where = _NUMBER.sub(lambda found: f"{field}[{found[1]}]", message, count=1)
        if not truncate:
            return TextTooLongError(where)
        reason = f"has more than the {self.max_length} tokens that the model takes"
        return TextTooLongError(f"{where.split(' ')[0]} {reason}, and pairs are truncated at the right only.")

    def scores(self, logits: npt.NDArray[np.float32], raw_scores: bool = False) -> npt.NDArray[np.float32]:
        """Scores of logits: their sigmoid for one label, their softmax for several.

        Args:
            logits: float32 ``[n, labels]``.
            raw_scores: return the logits.

        Returns:
            float32 ``[n, labels]``.
        """
        if raw_scores:
            return logits
        found: npt.NDArray[np.float32] = ACTIVATIONS["sigmoid" if self.is_reranker else "softmax"](logits)
        return found
