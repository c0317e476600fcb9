"""What waits in the queue, and what is told of it afterwards."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import whole_number
from m3e_runtime.errors import OptionError
from m3e_runtime.tokenization import TokenIds

__all__ = [
    "DOCUMENT_HANDICAP",
    "PIECE_SECONDS",
    "PRIORITIES",
    "Encoded",
    "Priority",
    "QueueLimits",
    "Request",
    "RunReport",
]

Priority = Literal["query", "document"]
PRIORITIES: tuple[str, ...] = get_args(Priority)

PIECE_SECONDS = 0.1
"""Of the engine's time, that a late request takes before the queries that came meanwhile have their turn."""

DOCUMENT_HANDICAP = 1.0
"""Seconds: a document lets pass the queries that come up to this much later. Then it is its turn."""


@dataclass(frozen=True)
class QueueLimits:
    """What may wait, with what is being computed.

    ``document_share`` is the part that documents may fill, so that a flood of them leaves room for queries.
    A large request takes a part of the room only (see :mod:`m3e_runtime.scheduling.admission`).
    """

    texts: int = 8192
    tokens: int = 131072
    document_share: float = 0.8

    def __post_init__(self) -> None:
        whole_number("texts", self.texts, 1)
        whole_number("tokens", self.tokens, 1)
        if not isinstance(self.document_share, (int, float)) or not 0 < self.document_share <= 1:
            raise OptionError(
                f"document_share={self.document_share!r} is not a share above 0, and 1 at most."
            )


@dataclass(frozen=True)
class Encoded:
    """Vectors, float32 ``[n, dimension]``, and the seconds that passed before the first text was computed."""

    vectors: npt.NDArray[np.float32]
    queue_seconds: float


@dataclass(frozen=True)
class RunReport:
    """One run of the engine; ``computed_tokens`` counts padding too."""

    texts: int
    tokens: int
    computed_tokens: int
    seconds: float


class Request:
    """Texts that one caller waits for.

    The thread of the event loop reads and writes ``future`` and what is ``outstanding``; the rest belongs to
    the engine's thread once the request was handed over. ``abandoned`` goes from false to true only.
    """

    __slots__ = (
        "abandoned",
        "arrival",
        "base",
        "deadline",
        "future",
        "handicap",
        "order",
        "outstanding_texts",
        "outstanding_tokens",
        "piece_tokens",
        "prompt_length",
        "started",
        "taken",
        "taken_tokens",
        "token_ids",
        "tokens",
        "vectors",
    )

    def __init__(
        self,
        token_ids: Sequence[TokenIds],
        tokens: int,
        priority: Priority,
        arrival: float,
        future: asyncio.Future[Encoded],
        prompt_length: int = 0,
        seconds: float = math.inf,
    ) -> None:
        self.token_ids = token_ids
        self.tokens = tokens
        self.prompt_length = prompt_length
        self.arrival = arrival
        self.deadline = arrival + seconds
        self.handicap = DOCUMENT_HANDICAP if priority == "document" else 0.0
        # The shortest first, as among requests.
        self.order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
        self.base = arrival  # of the piece that is being taken: when it came, or could have come
        self.piece_tokens = 0
        self.taken = 0
        self.taken_tokens = 0
        self.started = 0.0
        self.vectors: npt.NDArray[np.float32] | None = None
        self.abandoned = False
        self.outstanding_texts = len(token_ids)
        self.outstanding_tokens = tokens
        self.future = future

    def advance(self, length: int, tokens_per_second: float, now: float) -> None:
        """The next text, of ``length`` tokens, was taken."""
        self.taken += 1
        self.taken_tokens += length
        self.piece_tokens += length
        seconds = self.piece_tokens / tokens_per_second
        if seconds >= PIECE_SECONDS:
            self.base = max(self.base + seconds, now - self.handicap)
            self.piece_tokens = 0
