"""HTTP by hand, over a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["raw", "read_all"]


@contextmanager
def raw(running, data: bytes = b"") -> Iterator[socket.socket]:
    """A connection over which ``data`` was sent."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(data)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received
