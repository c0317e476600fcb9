"""Requests in the queue, its limits, and the results."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import whole_number
from m3e_runtime.errors import OptionError
from m3e_runtime.token_outputs import Output, TokenResult
from m3e_runtime.tokenization import TokenIds

if TYPE_CHECKING:
    from m3e_runtime.chunking import Parts

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

Vectors = npt.NDArray[np.float32]

Priority = Literal["query", "document"]
PRIORITIES: tuple[str, ...] = get_args(Priority)

PIECE_SECONDS = 0.1
"""Engine time that a late request takes before newer queries have their turn."""

DOCUMENT_HANDICAP = 1.0
"""Queries that arrive up to this many seconds after a document are computed before it."""


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the texts and tokens that wait or are being computed.

    Documents may fill ``document_share`` of the limits, so that a flood of documents leaves room for queries.
    A large request does not count in full (see :mod:`m3e_runtime.scheduling.admission`).
    """

    texts: int = 8192
    tokens: int = 131072
    document_share: float = 0.8

    def __post_init__(self) -> None:
        whole_number("texts", self.texts, 1)
        whole_number("tokens", self.tokens, 1)
        if not isinstance(self.document_share, (int, float)) or not 0 < self.document_share <= 1:
            raise OptionError(f"document_share={self.document_share!r}: it must be above 0 and at most 1.")


@dataclass(frozen=True)
class Encoded:
    """Vectors or logits, float32 ``[n, dimension]``, and the seconds in the queue until their first run.

    ``tokens`` are the outputs of tokens of each text; empty if they were not asked for.
    """

    vectors: npt.NDArray[np.float32]
    queue_seconds: float
    tokens: tuple[TokenResult, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """One run of the engine. ``computed_tokens`` includes padding."""

    texts: int
    tokens: int
    computed_tokens: int
    seconds: float


class Request:
    """The texts of one call. ``work`` is the sum of :func:`~m3e_runtime.planning.work_of` over them.

    The event loop's thread owns ``future``, ``outstanding_texts`` and ``outstanding_work``. The engine's
    thread owns the rest once the request is submitted. ``abandoned`` changes from false to true only.
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
        "outstanding_work",
        "parts",
        "piece_work",
        "prompt_length",
        "started",
        "taken",
        "taken_work",
        "token_ids",
        "token_results",
        "token_types",
        "vectors",
        "wanted",
        "work",
    )

    def __init__(
        self,
        token_ids: Sequence[TokenIds],
        work: int,
        priority: Priority,
        arrival: float,
        future: asyncio.Future[Encoded],
        prompt_length: int = 0,
        seconds: float = math.inf,
        token_types: Sequence[TokenIds] | None = None,
        wanted: frozenset[Output] = frozenset(),
        parts: Parts | None = None,
    ) -> None:
        self.token_ids = token_ids
        self.parts = parts  # None: the vectors are those of the texts
        self.token_types = token_types
        self.wanted = wanted  # outputs beside the vectors of the texts
        self.token_results: dict[int, TokenResult] = {}  # by the text's index, if any are wanted
        self.work = work
        self.prompt_length = prompt_length
        self.arrival = arrival
        self.deadline = arrival + seconds
        self.handicap = DOCUMENT_HANDICAP if priority == "document" else 0.0
        # Shortest first, as among requests.
        self.order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
        self.base = arrival  # start of the current piece: its arrival, or a later time if it is late
        self.piece_work = 0
        self.taken = 0
        self.taken_work = 0
        self.started = 0.0
        self.vectors: Vectors | None = None
        self.abandoned = False
        self.outstanding_texts = len(token_ids)
        self.outstanding_work = work
        self.future = future

    def store(self, index: int, vectors: Vectors, now: float) -> None:
        """Keep the vector of a text, ``[dimension]``, or those of its parts, ``[parts, dimension]``."""
        if self.vectors is None:
            self.started = now
            count = len(self.token_ids) if self.parts is None else self.parts.count
            self.vectors = np.empty((count, vectors.shape[-1]), dtype=np.float32)
        self.vectors[index if self.parts is None else self.parts.place(index)] = vectors

    def encoded(self, vectors: Vectors) -> Encoded:
        """The result, once all texts are computed."""
        tokens = tuple(self.token_results[index] for index in range(len(self.token_results)))
        return Encoded(vectors, self.started - self.arrival, tokens)

    def advance(self, work: int, tokens_per_second: float, now: float) -> None:
        """Count the next text, of so much ``work``, as taken."""
        self.taken += 1
        self.taken_work += work
        self.piece_work += work
        seconds = self.piece_work / tokens_per_second
        if seconds >= PIECE_SECONDS:
            self.base = max(self.base + seconds, now - self.handicap)
            self.piece_work = 0
