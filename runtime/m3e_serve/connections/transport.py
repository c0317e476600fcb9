"""The transport of a connection to a client that may still be sending, or that sends no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_FORGOTTEN", "PatientTransport"]

_SILENCE = 2.0
"""Seconds without a byte after which a client has read its answer, or never will. nginx waits 5."""

_MOST_SECONDS = 30.0
"""That a client may go on sending after its answer; as nginx's ``lingering_time``."""

MOST_FORGOTTEN = 128 << 20
"""Bytes of a client that are read and thrown away, so that it reads its answer."""

_ANSWER_BEGINS = b"HTTP/1.1 "
_FIRST_LOOK = 0.05
"""Seconds until the second byte of the answer asks whether the client is there; each further one takes twice
as long."""


class PatientTransport:
    """An asyncio transport that never takes an answer away from the client that it is for.

    The system resets a connection that is closed while bytes of the client are unread, and the reset may
    overtake the answer. Where :meth:`close` finds a request half received, it ends only the sending side, and
    reads and forgets what comes until the client closes too, falls silent, or goes on for too long.

    A client that has ended its own sending side looks like one that has gone, until something is sent to it.
    :meth:`announce` sends the bytes that every answer begins with, one by one. A client that has gone replies
    with a reset, and the connection is lost.

    Args:
        transport: the real one.
        is_unread: whether the client is in the middle of a request.

    Attributes:
        lingering: whether everything has been sent, and what comes is forgotten.
    """

    def __init__(self, transport: asyncio.Transport, is_unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_unread = is_unread
        self._loop = asyncio.get_running_loop()
        self._announced = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lingering = False
        self._until = 0.0
        self._left = MOST_FORGOTTEN

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self.lingering or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send ``data``, less what was announced of it."""
        if self._announced:
            data, self._announced = data[self._announced :], 0
            self._stop_timer()
        self._transport.write(data)

    def announce(self) -> None:
        """Begin the next answer, to learn whether the client is there."""
        self._announce(_FIRST_LOOK)

    def close(self) -> None:
        """Close when the client has sent all, or has had time to read."""
        if self._is_unread():
            self.linger()
        else:
            self._transport.close()

    def linger(self) -> None:
        """Send no more; forget what comes."""
        if self.is_closing():
            return
        self.lingering, self._until = True, self._loop.time() + _MOST_SECONDS
        self._transport.write_eof()
        self._transport.resume_reading()
        self._await_more()

    def forget(self, size: int) -> None:
        """So many bytes came while lingering."""
        self._left -= size
        if self._left < 0 or self._loop.time() > self._until:
            self._transport.abort()
        else:
            self._await_more()

    def lost(self) -> None:
        """The connection is no more."""
        self._stop_timer()

    def _announce(self, seconds: float) -> None:
        self._transport.write(_ANSWER_BEGINS[self._announced : self._announced + 1])
        self._announced += 1
        if self._announced < len(_ANSWER_BEGINS):
            self._timer = self._loop.call_later(seconds, self._announce, 2 * seconds)

    def _await_more(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(_SILENCE, self._silent)

    def _silent(self) -> None:
        if self._transport.get_write_buffer_size():  # it is still reading; others watch how long
            self._await_more()
        else:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
