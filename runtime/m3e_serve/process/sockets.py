"""Binding the sockets that the service listens on."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from m3e_runtime.errors import OptionError

__all__ = ["bind_tcp", "bind_unix"]

_MAX_PORT = 65535


def bind_tcp(host: str, port: int) -> socket.socket:
    """A TCP socket that is bound, but does not listen yet.

    Raises:
        OptionError: the address is invalid or in use.
    """
    if not 0 <= port <= _MAX_PORT:  # getaddrinfo takes it modulo 65536
        raise OptionError(f"--port {port}: it must be between 0 and {_MAX_PORT}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise OptionError(
            f"cannot listen on {host}:{port}: {error}; choose another --host or --port."
        ) from error
    return bound


def bind_unix(path: str) -> socket.socket:
    """A Unix socket that is bound, but does not listen yet. It replaces the stale socket of a dead process.

    Raises:
        OptionError: the path exists and is not a socket, or another process listens on it.
    """
    file = Path(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if file.exists():
            _remove_stale(file)
        bound.bind(path)
    except OSError as error:
        bound.close()
        raise OptionError(f"cannot listen on {path}: {error}; choose another --uds.") from error
    return bound


def _remove_stale(file: Path) -> None:
    if not stat.S_ISSOCK(os.stat(file).st_mode):
        raise OSError("the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(file))
        except ConnectionRefusedError:
            file.unlink()
        else:
            raise OSError("another process listens on it")
