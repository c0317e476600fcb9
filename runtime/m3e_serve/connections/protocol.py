"""The protocol of a connection: uvicorn's, with limits on connections and on slow clients."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from m3e_serve.connections.early_response import EarlyResponse
from m3e_serve.connections.http1 import Http1Protocol
from m3e_serve.connections.transport import MAX_DISCARDED_BYTES, LingeringTransport
from m3e_serve.errors import ApiError, too_many_connections
from m3e_serve.service import Service

__all__ = ["LimitedProtocol", "protocol_for"]

_PROBES = (b"/livez", b"/readyz", b"/health", b"/metrics")
_EXCESS_SECONDS = 3.0
"""Seconds for a connection beyond the limit to send its request, which may be a health check."""


class LimitedProtocol(Http1Protocol):
    """Limits connections, and the time that clients take to send requests and to read responses.

    Connections beyond the limit are in excess: they may send a health check, and get 503 for other requests.

    :meth:`check` must be called about once per second.
    """

    service: ClassVar[Service]
    transport: LingeringTransport  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_since: float | None = None  # start of waiting for the headers of a request
        self._rest_since: float | None = None  # start of waiting for the rest of a body after its response
        self._rest_bytes = 0
        self._sending_ended = False
        self._unsent = 0
        self._unsent_since = 0.0
        self._excess: asyncio.TimerHandle | None = None  # rejects this connection, which is in excess
        self._current: RequestResponseCycle | None = None  # the request that the application handles
        self._rejection: ApiError | None = None

    @property
    def rejected(self) -> bool:
        """Whether :meth:`reject` was called. The error response may have to wait for earlier responses."""
        return self._rejection is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(LingeringTransport(transport, self._is_unread))  # type: ignore[arg-type]
        self._headers_since = self.loop.time()
        limit = self.service.settings.max_connections
        if len(self.connections) > 2 * limit:
            self._drop("too_many_connections")
        elif len(self.connections) > limit and self._admitted_connections() > limit:
            self._excess = self.loop.call_later(_EXCESS_SECONDS, self.reject, too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the work for this client."""
        self._sending_ended = True
        self.transport.connection_lost()
        if self._excess is not None:
            self._excess.cancel()
        if self._current is not None:
            _disconnect(self._current)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``, or discard it after a rejection."""
        if self.transport.lingering:
            self.transport.discard(len(data))
        elif not self.rejected:
            super().data_received(data)
            self._limit_rest(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle the end of the client's data. The client may wait for its response, or be gone."""
        self._sending_ended = True
        if self.in_body and not self.cycle.response_complete:
            self.reject(ApiError(400, "The body is incomplete.", "incomplete_body", close=True))
        current = self._current
        if current is None or current.response_complete or self.transport.is_closing():
            return False
        self.cycle.keep_alive = False
        if not current.response_started:
            self.transport.probe_client()
        return True

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._headers_since = self.loop.time()

    def on_request(self) -> None:
        """Pass the request to the application, which has its own timeouts.

        Raises:
            ApiError: 503, the connection is in excess.
        """
        self._headers_since = None
        if self._excess is None:
            super().on_request()
            return
        self._excess.cancel()
        if self._admitted_connections() < self.service.settings.max_connections:
            self._excess = None
        elif not self._is_probe():
            raise too_many_connections()
        super().on_request()
        self.cycle.keep_alive = self.cycle.keep_alive and self._excess is None

    def on_message_complete(self) -> None:
        """End the request."""
        super().on_message_complete()
        self._rest_since = None

    def on_response_complete(self) -> None:
        """Continue with the next request, or with the error response that waits for this one."""
        closing = self.transport.is_closing()
        if self.in_body and self._current is self.cycle and not closing:
            self._rest_since, self._rest_bytes = self.loop.time(), 0
        if self._rejection is None or self.pipeline or closing:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._send_error(self._rejection)

    def reject(self, error: ApiError) -> None:
        """Finish earlier requests, respond with ``error``, and close the connection."""
        if self.rejected or self.transport.is_closing():
            return
        self._rejection, self._headers_since = error, None
        if self.in_body and not self._withdraw(self.cycle):
            self._close_after_response()
        elif self._current is None or self._current.response_complete:
            self._send_error(error)

    def check(self, now: float) -> None:
        """Close the connection if the client has stopped sending or reading."""
        timeout = self.service.settings.receive_timeout
        for since in (self._headers_since, self._rest_since):
            if since is not None and now - since > timeout:
                self._drop("receive_timeout")
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > timeout:
            self._drop("unread_answer")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _drop(self, reason: str) -> None:
        """Close the connection without a response."""
        self._headers_since = self._rest_since = None
        self.service.metrics.rejected.labels(reason).inc()
        self.transport.abort()

    def _limit_rest(self, size: int) -> None:
        """Limit the rest of a body that is discarded because its response is complete."""
        if self._rest_since is not None:
            self._rest_bytes += size
            if self._rest_bytes > MAX_DISCARDED_BYTES:
                self._drop("body_too_large")

    def _close_after_response(self) -> None:
        """Close the connection after a faulty body whose response has started, so no error can be sent."""
        if self.cycle.response_complete:
            self.transport.linger()
        else:
            self.transport.abort()

    def _is_unread(self) -> bool:
        if self._sending_ended:
            return False
        return bool(self.in_headers or self.in_body or self.pipeline or self.flow.read_paused)

    def _is_probe(self) -> bool:
        return self.parser.get_method() in (b"GET", b"HEAD") and self.url.partition(b"?")[0] in _PROBES

    def _admitted_connections(self) -> int:
        return sum(
            not each.rejected and each._excess is None
            for each in self.connections
            if isinstance(each, LimitedProtocol)
        )

    def _withdraw(self, cycle: RequestResponseCycle) -> bool:
        """Cancel a request with a faulty body. Returns False if its response has started."""
        if cycle is not self._current:
            self.pipeline.popleft()
            return True
        if cycle.response_started:
            return False
        _disconnect(cycle)  # the application sends no response
        self._current = None
        return True

    def _send_error(self, error: ApiError) -> None:
        response = EarlyResponse(error, self.scope or {"client": self.client}, self.service)
        self.transport.write(response.encode())
        self.transport.linger()
        response.record()


def _disconnect(cycle: RequestResponseCycle) -> None:
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def protocol_for(service: Service) -> type[LimitedProtocol]:
    """The protocol class for ``service``. uvicorn takes a class, not a factory."""
    return type("Protocol", (LimitedProtocol,), {"service": service})
