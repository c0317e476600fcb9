"""uvicorn's HTTP protocol, with bounds for clients that are too many or too slow."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from m3e_serve.connections.http1 import Http1Protocol
from m3e_serve.connections.transport import MOST_FORGOTTEN, PatientTransport
from m3e_serve.errors import ApiError, openai_style
from m3e_serve.requests.cors import cors_headers
from m3e_serve.requests.request_id import REQUEST_ID_HEADER, origin, request_id
from m3e_serve.service import Service

__all__ = ["BoundedProtocol", "bounded_protocol"]

logger = logging.getLogger(__name__)

_ROUTE = "protocol"
"""Under which metrics count what never reached a route."""

_PROBES = (b"/livez", b"/readyz", b"/health", b"/metrics")
_SURPLUS_SECONDS = 3.0
"""That a client above the limit has to send its request, which may be a probe."""


class BoundedProtocol(Http1Protocol):
    """Watches what comes before a request reaches the application, and what goes out after.

    :meth:`check` has to be called about once a second.
    """

    service: ClassVar[Service]
    transport: PatientTransport  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_since: float | None = None
        self._rest_since: float | None = None
        self._rest = 0
        self._ended = False
        self._unread = 0
        self._unread_since = 0.0
        self._surplus: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._refusal: ApiError | None = None

    @property
    def refused(self) -> bool:
        """Whether it was told why it is not served, or will be after the answers before."""
        return self._refusal is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first request starts."""
        super().connection_made(PatientTransport(transport, self._is_unread))  # type: ignore[arg-type]
        self._headers_since = self.loop.time()
        most = self.service.settings.max_connections
        if len(self.connections) > 2 * most:  # as many again are being told
            self._drop("too_many_connections")
        elif len(self.connections) > most and self._admitted() > most:
            self._surplus = self.loop.call_later(_SURPLUS_SECONDS, self.refuse, _too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Who still works for this client hears that it has gone."""
        self._ended = True
        self.transport.lost()
        if self._surplus is not None:
            self._surplus.cancel()
        if self._answering is not None:
            _disconnect(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass over what comes after a refusal."""
        if self.transport.lingering:
            self.transport.forget(len(data))
        elif not self.refused:
            super().data_received(data)
            self._bound_rest(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. It waits for its answer, or has gone."""
        self._ended = True
        if self.in_body and not self.cycle.response_complete:
            self.refuse(ApiError(400, "The body ends too early.", "incomplete_body", close=True))
        answering = self._answering
        if answering is None or answering.response_complete or self.transport.is_closing():
            return False
        self.cycle.keep_alive = False
        if not answering.response_started:
            self.transport.announce()
        return True

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._headers_since = self.loop.time()

    def on_request(self) -> None:
        """From here on the application watches the time."""
        self._headers_since = None
        if self._surplus is None:
            super().on_request()
            return
        self._surplus.cancel()
        if self._admitted() < self.service.settings.max_connections:
            self._surplus = None
        elif not self._is_probe():
            raise _too_many_connections()
        super().on_request()
        self.cycle.keep_alive = self.cycle.keep_alive and self._surplus is None

    def on_message_complete(self) -> None:
        """Nothing is left of the body of an answered request."""
        super().on_message_complete()
        self._rest_since = None

    def on_response_complete(self) -> None:
        """Go on with the next request, or with the refusal of what was none."""
        closing = self.transport.is_closing()
        if self.in_body and self._answering is self.cycle and not closing:
            self._rest_since, self._rest = self.loop.time(), 0
        if self._refusal is None or self.pipeline or closing:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._tell(self._refusal)

    def refuse(self, error: ApiError) -> None:
        """Answer who was asked before; then say why there is no more, and close."""
        if self.refused or self.transport.is_closing():
            return
        self._refusal, self._headers_since = error, None
        if self.in_body and not self._withdraw(self.cycle):
            self._end_early()
        elif self._answering is None or self._answering.response_complete:
            self._tell(error)

    def check(self, now: float) -> None:
        """Close the connection of a client that does not go on sending or reading."""
        patience = self.service.settings.receive_timeout
        for since in (self._headers_since, self._rest_since):
            if since is not None and now - since > patience:
                self._drop("receive_timeout")
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > patience:
            self._drop("unread_answer")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _drop(self, reason: str) -> None:
        """Close without a word."""
        self._headers_since = self._rest_since = None
        self.service.metrics.rejected.labels(reason).inc()
        self.transport.abort()

    def _bound_rest(self, size: int) -> None:
        """What comes of a body after its answer is thrown away, but not without end."""
        if self._rest_since is not None:
            self._rest += size
            if self._rest > MOST_FORGOTTEN:
                self._drop("body_too_large")

    def _end_early(self) -> None:
        """Where a body breaks whose answer has begun, nothing else can be told."""
        if self.cycle.response_complete:
            self.transport.linger()
        else:
            self.transport.abort()

    def _is_unread(self) -> bool:
        if self._ended:
            return False
        return bool(self.in_headers or self.in_body or self.pipeline or self.flow.read_paused)

    def _is_probe(self) -> bool:
        return self.parser.get_method() in (b"GET", b"HEAD") and self.url.partition(b"?")[0] in _PROBES

    def _admitted(self) -> int:
        return sum(
            not each.refused and each._surplus is None
            for each in self.connections
            if isinstance(each, BoundedProtocol)
        )

    def _withdraw(self, cycle: RequestResponseCycle) -> bool:
        """Take back a request whose body is broken; False where its answer has begun."""
        if cycle is not self._answering:
            self.pipeline.popleft()
            return True
        if cycle.response_started:
            return False
        _disconnect(cycle)  # the application writes no more
        self._answering = None
        return True

    def _tell(self, error: ApiError) -> None:
        given = dict(self.scope["headers"] if self.scope else ())
        name = request_id(given.get(REQUEST_ID_HEADER))
        status, content = openai_style(error)
        body = orjson.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", name.encode()),
            *error.headers,
            *cors_headers(self.service.settings.cors_origins, given.get(b"origin")),
        ]
        lines = [
            b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
            *(b": ".join(each) for each in headers),
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.linger()
        self._record(error, name)

    def _record(self, error: ApiError, name: str) -> None:
        metrics = self.service.metrics
        metrics.requests.labels(_ROUTE, str(error.status)).inc()
        if error.status == 503:
            metrics.rejected.labels(error.code).inc()
        if error.status != 503 or self.service.settings.access_log:  # too many connections are too many lines
            fields = {"request_id": name, "route": _ROUTE, "status": error.status, "code": error.code}
            seen = {"reason": error.message, **origin(self.scope or {"client": self.client})}
            logger.info("request refused", extra={"fields": fields | seen})


def _too_many_connections() -> ApiError:
    return ApiError(503, "There are too many connections.", "too_many_connections", retry_after=1, close=True)


def _disconnect(cycle: RequestResponseCycle) -> None:
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def bounded_protocol(service: Service) -> type[BoundedProtocol]:
    """The protocol with the bounds of ``service``; uvicorn wants a class."""
    return type("Protocol", (BoundedProtocol,), {"service": service})
