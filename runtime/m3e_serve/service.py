"""The state that all routes of a service share."""

from __future__ import annotations

from dataclasses import dataclass, field

from m3e_serve.admission import Admission
from m3e_serve.models.registry import ModelRegistry
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings

__all__ = ["Service"]


@dataclass
class Service:
    """A running service. Only the event loop's thread uses it.

    Attributes:
        ready: whether ``/readyz`` succeeds.
        in_flight: number of admitted requests without a complete response.
    """

    settings: ServeSettings
    models: ModelRegistry
    metrics: Metrics = field(default_factory=Metrics)
    ready: bool = False
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings.body_limit)

    @property
    def draining(self) -> bool:
        """Whether new requests are rejected."""
        return self.admission.draining

    def stop_being_ready(self) -> None:
        """Fail ``/readyz``, so that load balancers route elsewhere. Requests are still accepted."""
        self.ready = False

    def drain(self) -> None:
        """Reject new requests. Those in flight go on."""
        self.ready = False
        self.admission.draining = True

    def count_in_flight(self, change: int) -> None:
        """Add ``change`` to the number of requests in flight."""
        self.in_flight += change
        self.metrics.in_flight.inc(change)

    @property
    def alive(self) -> bool:
        """Whether the engines run, or need not run because the service is starting or draining."""
        return self.models.alive or not self.ready
