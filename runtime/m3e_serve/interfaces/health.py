"""Health checks: ``/livez``, ``/readyz`` and ``/health``."""

from __future__ import annotations

from dataclasses import dataclass

from m3e_serve.errors import ApiError
from m3e_serve.requests.call import Call
from m3e_serve.requests.response import Response
from m3e_serve.service import Service

__all__ = ["HealthChecks"]


@dataclass(frozen=True)
class HealthChecks:
    """Handlers that succeed, or fail with 503."""

    service: Service

    async def live(self, call: Call) -> Response:
        """``GET /livez``: fails if an engine has stopped. The process should then be restarted."""
        if not self.service.alive:
            raise ApiError(503, "An engine has stopped.", tei_type="Unhealthy")
        return Response(b"", content_type=b"text/plain")

    async def ready(self, call: Call) -> Response:
        """``GET /readyz`` and ``GET /health``: fails also while the service starts or shuts down."""
        if not self.service.ready:
            raise ApiError(503, "The service is starting or shutting down.", tei_type="Unhealthy")
        return await self.live(call)
