"""A transport that closes connections without losing responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["MAX_DISCARDED_BYTES", "LingeringTransport"]

_LINGERING_TIMEOUT = 2.0
"""Seconds without data from the client until the connection is closed. nginx's ``lingering_timeout`` is 5."""

_LINGERING_TIME = 30.0
"""Maximum seconds that a client may go on sending, as nginx's ``lingering_time``."""

MAX_DISCARDED_BYTES = 128 << 20
"""Maximum bytes that a client may send after the response. They are read and discarded."""

_RESPONSE_START = b"HTTP/1.1 "
_FIRST_PROBE_SECONDS = 0.05
"""Seconds between the first two probes. Each further interval is twice as long."""


class LingeringTransport:
    """An asyncio transport that delivers responses to clients that are still sending, or have stopped to.

    The system resets a connection that is closed while data of the client is unread, and the reset can
    overtake the response. If a request is incomplete, :meth:`close` therefore closes the sending side only.
    It reads and discards data until the client closes, too, or stops sending, or a limit is reached. nginx
    calls this a lingering close.

    A client that has closed its sending side is like one that is gone, until something is sent to it.
    :meth:`probe_client` sends the bytes that every response starts with, one at a time. A client that is gone
    replies with a reset, and the connection is lost.

    Args:
        transport: the transport of the connection.
        is_unread: returns whether a request is incomplete.

    Attributes:
        lingering: whether the sending side is closed, and data is discarded.
    """

    def __init__(self, transport: asyncio.Transport, is_unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_unread = is_unread
        self._loop = asyncio.get_running_loop()
        self._probes_sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lingering = False
        self._deadline = 0.0
        self._may_discard = MAX_DISCARDED_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether no more data can be sent."""
        return self.lingering or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send ``data`` without the bytes that were sent as probes."""
        if self._probes_sent:
            data, self._probes_sent = data[self._probes_sent :], 0
            self._stop_timer()
        self._transport.write(data)

    def probe_client(self) -> None:
        """Send the start of the next response in small steps, to find out whether the client is gone."""
        self._send_probe(_FIRST_PROBE_SECONDS)

    def close(self) -> None:
        """Close the connection, after lingering if a request is incomplete."""
        if self._is_unread():
            self.linger()
        else:
            self._transport.close()

    def linger(self) -> None:
        """Close the sending side and discard received data from now on."""
        if self.is_closing():
            return
        self.lingering, self._deadline = True, self._loop.time() + _LINGERING_TIME
        self._transport.write_eof()
        self._transport.resume_reading()
        self._restart_timer()

    def discard(self, size: int) -> None:
        """Count ``size`` bytes that were received while lingering."""
        self._may_discard -= size
        if self._may_discard < 0 or self._loop.time() > self._deadline:
            self._transport.abort()
        else:
            self._restart_timer()

    def connection_lost(self) -> None:
        """Stop all timers."""
        self._stop_timer()

    def _send_probe(self, seconds: float) -> None:
        self._transport.write(_RESPONSE_START[self._probes_sent : self._probes_sent + 1])
        self._probes_sent += 1
        if self._probes_sent < len(_RESPONSE_START):
            self._timer = self._loop.call_later(seconds, self._send_probe, 2 * seconds)

    def _restart_timer(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(_LINGERING_TIMEOUT, self._time_out)

    def _time_out(self) -> None:
        if self._transport.get_write_buffer_size():  # the client is still reading, which has its own timeout
            self._restart_timer()
        else:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
