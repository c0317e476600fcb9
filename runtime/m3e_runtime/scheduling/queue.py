"""Who is next.

Each text has a due time: when it would be done if its request had the engine to itself from its arrival on,
its shorter texts first. The earliest due time goes first. So a short text passes a long one, the few texts
of one caller pass the many of another, and since the due time of the next text never changes while later
arrivals have later ones, nothing waits for ever. This is the virtual finish time of fair queueing (Demers,
Keshav and Shenker 1989), with real arrival times. A document is due
:data:`~m3e_runtime.scheduling.request.DOCUMENT_HANDICAP` later than a query.

A large request that has fallen behind, because others were computed meanwhile or the engine became slower,
must not catch up at the cost of all who come. So after each piece, of
:data:`~m3e_runtime.scheduling.request.PIECE_SECONDS`, its next texts are due as if they came now.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from m3e_runtime.scheduling.request import Request
from m3e_runtime.tokenization import TokenIds

__all__ = ["FairQueue", "Pack"]


@dataclass
class Pack:
    """Texts that are computed together, the longest first, and where each comes from."""

    places: list[tuple[Request, int]] = field(default_factory=list)
    tokens: int = 0

    def token_ids(self) -> list[TokenIds]:
        """The ids of the texts; brings the texts into this order first."""
        # Threads that take one text after the other finish together when the short ones come last.
        self.places.sort(key=lambda place: -len(place[0].token_ids[place[1]]))
        return [request.token_ids[index] for request, index in self.places]

    def prompt_lengths(self) -> list[int] | None:
        """Tokens at the start of each text that are not pooled, in the order of the texts; None: all are."""
        lengths = [request.prompt_length for request, _ in self.places]
        return lengths if any(lengths) else None


class FairQueue:
    """Requests in the order of their next texts. For one thread.

    Attributes:
        tokens: of all texts that wait, those of an abandoned request until it would be its turn.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._heap: list[tuple[float, int, Request]] = []
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, request: Request, tokens_per_second: float) -> None:
        """Let ``request`` wait; ``tokens_per_second`` is the engine's present speed."""
        self._added += 1
        self.tokens += request.tokens
        heapq.heappush(self._heap, (_due(request, tokens_per_second), self._added, request))

    def take(self, budget: int, tokens_per_second: float, now: float = -math.inf) -> Pack:
        """Take the texts that are due first, up to ``budget`` tokens; at least one, if any waits.

        ``now`` is the time of the clock that arrivals are measured by.

        Requests that were abandoned leave the queue here.
        """
        pack = Pack()
        heap = self._heap
        while heap:
            _, number, request = heap[0]
            if request.abandoned:
                heapq.heappop(heap)
                self.tokens -= request.tokens - request.taken_tokens
                continue
            index = request.order[request.taken]
            length = len(request.token_ids[index])
            if pack.places and pack.tokens + length > budget:
                break
            pack.places.append((request, index))
            pack.tokens += length
            request.advance(length, tokens_per_second, now)
            if request.taken == len(request.order):
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (_due(request, tokens_per_second), number, request))
        self.tokens -= pack.tokens
        return pack


def _due(request: Request, tokens_per_second: float) -> float:
    length = len(request.token_ids[request.order[request.taken]])
    return request.base + request.handicap + (request.piece_tokens + length) / tokens_per_second
