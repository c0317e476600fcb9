"""Running the service in one process: sockets, signals, and an end in which everyone is answered."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn

from m3e_runtime.errors import OptionError
from m3e_serve.app import create_app, load_service
from m3e_serve.connections.protocol import BoundedProtocol, bounded_protocol
from m3e_serve.process.signals import ending_signals
from m3e_serve.process.syn_filter import ignore_new_connections
from m3e_serve.service import Service
from m3e_serve.settings import ServeSettings

__all__ = ["Server", "bind_tcp", "bind_unix", "make_server", "run_server"]

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long the event loop may go on when the engine's thread wants the interpreter for its next run. Python's
own 5 ms would leave the engine idle that long."""

_GARBAGE_THRESHOLD = 10_000
"""Objects between two searches for cycles. What lives as long as the process is left out of all of them."""

_BACKLOG = 2048
_MOST_PORT = 65535
_TICKS = 10  # of uvicorn's in a second
_CLOSING = 0.01  # seconds, in which the event loop lets go of a socket that was closed
_LAST_CALL = 0.5
"""Seconds without a request after which open connections are closed, when nobody can connect any more."""

_LAST_CALLS = 2.0
"""Seconds after which they are closed although requests still come."""

_QUIET_TICKS = 3  # without a request: connections that the kernel had accepted before have been met by then


class Server(uvicorn.Server):
    """Ends in steps.

    For ``drain_delay`` after SIGTERM or SIGHUP, ``/readyz`` fails and who comes is let in. Then, or after
    SIGINT or the same signal again, who comes is refused and who was let in is answered. Then, or after
    ``drain_timeout``, the sockets are closed. A second SIGINT ends at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._deadline: float | None = None
        self._drain_at: float | None = None
        self._quiet = 0
        self._signals: set[int] = set()

    def handle_exit(self, sig: int, frame: FrameType | None = None) -> None:
        """On a signal; uvicorn's own version would let the process die of it in the end."""
        again = sig in self._signals
        self._signals.add(sig)
        if sig == signal.SIGINT and again:
            self.should_exit = self.force_exit = True
        delay = self._service.settings.drain_delay
        if again or sig == signal.SIGINT or not delay:
            self.drain()
        elif self._drain_at is None:
            self._drain_at = time.monotonic() + delay
            self._service.announce_end()
            logger.info("ending", extra={"fields": {"drain_delay": delay}})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals as long as the block runs."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in ending_signals()}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def drain(self) -> None:
        """Begin to end."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._service.settings.drain_timeout
            self._service.drain()
            logger.info("draining", extra={"fields": {"in_flight": self._service.in_flight}})

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % _TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
            parent = multiprocessing.parent_process()
            if parent is not None and not parent.is_alive():
                self.drain()
        if self._drain_at is not None and time.monotonic() >= self._drain_at:
            self.drain()
        if self._deadline is not None:
            self._quiet = 0 if self._service.in_flight else self._quiet + 1
            left = self._deadline - time.monotonic()
            if self._quiet >= _QUIET_TICKS or left <= 0:
                # What is left of the time is for clients that are still reading.
                self.config.timeout_graceful_shutdown = max(1, int(left))
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, answer what still comes over open connections, and end.

        Clients keep connections open between requests. One that is closed while a request is on its way
        leaves its client without an answer. So the clients are refused one by one, each with the last
        answer of its connection, until no more requests come.
        """
        await self._stop_listening(sockets or [])
        await self._answer_last_requests()
        await super().shutdown(sockets)

    async def _answer_last_requests(self) -> None:
        state = self.server_state
        now = time.monotonic()
        end, answered, quiet_since = now + _LAST_CALLS, state.total_requests, now
        while state.connections and now < min(end, quiet_since + _LAST_CALL) and not self.force_exit:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            if answered != state.total_requests:
                answered, quiet_since = state.total_requests, now

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Stop without resetting those whose connections the system has taken and nobody has accepted yet."""
        spares = [each.dup() for each in sockets if each.fileno() >= 0]
        for server in self.servers:
            server.close()
        for each in sockets:
            each.close()
        await asyncio.sleep(_CLOSING)
        if multiprocessing.parent_process() is None:  # other workers still listen on the same sockets
            for spare in spares:
                ignore_new_connections(spare)
        waiting = [connection for spare in spares for connection in _accept_all(spare)]
        for spare in spares:
            spare.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._make_protocol, connection)

    def _make_protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    listening.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection


def make_server(service: Service) -> Server:
    """A server of ``service``; ``run`` it with bound sockets."""
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        http=bounded_protocol(service),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=service.settings.keep_alive,  # type: ignore[arg-type] # a float does as well
    )
    return Server(config, service)


def run_server(service: Service, sockets: Sequence[socket.socket]) -> None:
    """Serve until a signal comes, and everyone is answered."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    try:
        make_server(service).run(list(sockets))
    finally:
        gc.unfreeze()  # else nothing in a cycle is ever taken apart


def run_worker(settings: ServeSettings, sockets: Sequence[socket.socket]) -> None:
    """Load the bundles and serve: the main function of a worker process."""
    run_server(load_service(settings), sockets)


def bind_tcp(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet.

    Raises:
        OptionError: the address cannot be had.
    """
    if not 0 <= port <= _MOST_PORT:  # getaddrinfo takes it modulo 65536
        raise OptionError(f"--port {port}: it is between 0 and {_MOST_PORT}.")
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
    """A Unix socket that does not listen yet; what a process left behind that is no more is replaced.

    Raises:
        OptionError: something else is there, or somebody listens on it.
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
        raise OSError("it exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(file))
        except ConnectionRefusedError:
            file.unlink()
        else:
            raise OSError("another process listens on it")
