"""The state of a running service: open or draining, and what is being answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from m3e_serve.errors import ApiError, shutting_down
from m3e_serve.models.served_models import Models
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings

__all__ = ["Service"]

_MOST_BODIES = 16
"""Bodies of the largest size that are kept in memory at a time; of smaller ones, more."""

_SMALL_BODY = 1 << 16  # bytes; connections times this much does not matter


@dataclass
class Service:
    """What all routes share. Everything happens in the thread of the event loop.

    Attributes:
        ready: whether requests are let in.
        in_flight: requests that have been let in and are not answered yet.
        held_bytes: of the bodies of requests that are not answered yet.
    """

    settings: ServeSettings
    models: Models
    metrics: Metrics = field(default_factory=Metrics)
    ready: bool = False
    draining: bool = False
    in_flight: int = 0
    held_bytes: int = 0

    def announce_end(self) -> None:
        """Tell balancers to send nobody here any more; who comes is let in."""
        self.ready = False

    def drain(self) -> None:
        """Let nobody in any more."""
        self.ready = False
        self.draining = True

    def count(self, requests: int) -> None:
        """So many more requests are being answered, or fewer."""
        self.in_flight += requests
        self.metrics.in_flight.inc(requests)

    def hold(self, more: int, size: int) -> None:
        """So many more bytes of a body, of which there are ``size`` now, are kept in memory.

        Raises:
            ApiError: 429, bodies take up too much already, and this one is not small.
        """
        most = _MOST_BODIES * self.settings.body_limit
        if size > _SMALL_BODY and self.held_bytes + more > most:
            raise ApiError(
                429,
                f"The bodies of other requests take up most of {most} bytes; try again later.",
                "rate_limit_exceeded",
                tei_type="Overloaded",
                retry_after=1,
                close=True,
            )
        self.held_bytes += more

    def check_open(self) -> None:
        """Refuse who comes too late.

        Raises:
            ApiError: 503.
        """
        if self.draining:
            raise shutting_down()

    @property
    def alive(self) -> bool:
        """Whether the engines run; before the start and at the end there is nothing to say against them."""
        return self.models.alive or not self.ready
