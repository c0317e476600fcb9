"""uvicorn's HTTP protocol, with bounds for clients that are too many or too slow."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from m3e_runtime.serve.settings import ServeSettings

__all__ = ["BoundedProtocol", "bounded_protocol"]

_MOST_HEADER_BYTES = 64 << 10
_TOO_MANY = b"503 Service Unavailable\r\nretry-after: 1"
_TOO_LARGE = b"431 Request Header Fields Too Large"


class BoundedProtocol(HttpToolsProtocol):
    """Watches what comes before a request reaches the application, and what goes out after.

    :meth:`check` has to be called about once a second.
    """

    settings: ClassVar[ServeSettings]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_since: float | None = None
        self._header_bytes = 0
        self._unread = 0
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first request starts."""
        super().connection_made(transport)
        self._headers_since = self.loop.time()
        if len(self.connections) > self.settings.max_connections:
            self._refuse(_TOO_MANY)

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
        """Count bytes until the headers are complete."""
        super().data_received(data)
        if self._headers_since is not None and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > _MOST_HEADER_BYTES:
                self._refuse(_TOO_LARGE)

    def check(self, now: float) -> None:
        """Close the connection of a client that does not go on sending headers or reading an answer."""
        patience = self.settings.receive_timeout
        if self._headers_since is not None and now - self._headers_since > patience:
            self.transport.abort()
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > patience:
            self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()


def bounded_protocol(settings: ServeSettings) -> type[BoundedProtocol]:
    """The protocol with the bounds of ``settings``; uvicorn wants a class."""
    return type("Protocol", (BoundedProtocol,), {"settings": settings})
