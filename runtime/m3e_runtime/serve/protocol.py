"""uvicorn's HTTP protocol, with bounds for clients that are too many or too slow."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from m3e_runtime.serve.errors import ApiError, openai_style
from m3e_runtime.serve.service import Service

__all__ = ["BoundedProtocol", "bounded_protocol"]

_MOST_HEADER_BYTES = 64 << 10
_LINGER = 1.0
"""Seconds that a client that was refused has to read why. Closing at once, with bytes of it unread, would
reset the connection and take the answer away."""


class BoundedProtocol(HttpToolsProtocol):
    """Watches what comes before a request reaches the application, and what goes out after.

    :meth:`check` has to be called about once a second.
    """

    service: ClassVar[Service]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_since: float | None = None
        self._header_bytes = 0
        self._unread = 0
        self._unread_since = 0.0
        self._refused_at: float | None = None

    @property
    def has_sent_nothing(self) -> bool:
        """Whether no request has come yet."""
        return self.cycle is None and not self.refused

    @property
    def refused(self) -> bool:
        """Whether it was told why it is not served, and has a moment to read that."""
        return self._refused_at is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first request starts."""
        super().connection_made(transport)
        self._headers_since = self.loop.time()
        most = self.service.settings.max_connections
        if len(self.connections) > 2 * most:  # as many again are being told
            self.transport.abort()
        elif len(self.connections) > most and self._admitted() > most:
            self._refuse(ApiError(503, "There are too many connections.", "too_many_connections",
                                  retry_after=1, close=True))  # fmt: skip

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._headers_since = self.loop.time()
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        """From here on the application watches the time."""
        self._headers_since = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count bytes until the headers are complete; pass over what comes after a refusal."""
        if self.refused:
            return
        super().data_received(data)
        if self._headers_since is not None and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > _MOST_HEADER_BYTES:
                self._refuse(ApiError(431, "The headers are too large.", "headers_too_large", close=True))

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(ApiError(400, msg, "invalid_http", close=True))

    def check(self, now: float) -> None:
        """Close the connection of a client that does not go on sending headers or reading an answer."""
        if self._refused_at is not None and now - self._refused_at > _LINGER:
            self.transport.abort()
        patience = self.service.settings.receive_timeout
        if self._headers_since is not None and now - self._headers_since > patience:
            self.transport.abort()
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > patience:
            self.transport.abort()

    def _admitted(self) -> int:
        return sum(not each.refused for each in self.connections if isinstance(each, BoundedProtocol))

    def _refuse(self, error: ApiError) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                self.transport.abort()  # in the middle of an answer nothing else can be told
                return
            cycle.disconnected = True  # the application hears that its client has gone, and writes no more
            cycle.message_event.set()
        if error.status == 503:
            self.service.metrics.rejected.labels(error.code).inc()
        status, content = openai_style(error)
        body = orjson.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *error.headers,
        ]
        lines = [
            b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
            *(b": ".join(each) for each in headers),
        ]
        self._refused_at, self._headers_since = self.loop.time(), None
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.write_eof()


def bounded_protocol(service: Service) -> type[BoundedProtocol]:
    """The protocol with the bounds of ``service``; uvicorn wants a class."""
    return type("Protocol", (BoundedProtocol,), {"service": service})
