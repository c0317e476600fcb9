"""Running the service in one process, and draining it at the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

from m3e_serve.app import create_app, load_service
from m3e_serve.connections.protocol import LimitedProtocol, protocol_for
from m3e_serve.process.signals import shutdown_signals
from m3e_serve.process.syn_filter import drop_new_connections
from m3e_serve.service import Service
from m3e_serve.settings import ServeSettings

__all__ = ["Server", "make_server", "run_server", "run_worker"]

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""Interpreter switch interval: the engine's thread waits this long for the event loop before its next run.
Python's default is 5 ms."""

_GC_THRESHOLD = 10_000
"""Allocations between garbage collections, from which long-lived objects are excluded."""

_BACKLOG = 2048
_TICKS_PER_SECOND = 10  # of uvicorn's main loop
_CLOSE_SECONDS = 0.01  # until the event loop has released a closed socket
_QUIET_SECONDS = 0.5
"""After the listening sockets are closed, open connections are closed after this time without requests."""

_MAX_LAST_SECONDS = 2.0
"""Open connections are closed after this time even if requests still arrive."""

_QUIET_TICKS = 3  # without a request; by then, connections that the kernel had accepted have been handled


class Server(uvicorn.Server):
    """A server that shuts down in steps.

    1. SIGTERM and SIGHUP start the drain delay: ``/readyz`` fails, and requests are still accepted.
    2. At the end of the delay, at SIGINT, or at the same signal again, the server drains: new requests are
       rejected, and those in flight go on.
    3. When none is in flight, or after ``drain_timeout``, the sockets are closed.

    A second SIGINT ends the server immediately.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._deadline: float | None = None
        self._drain_at: float | None = None
        self._quiet = 0
        self._signals: set[int] = set()

    def handle_exit(self, sig: int, frame: FrameType | None = None) -> None:
        """Handle a signal. uvicorn's version would raise it again at the end, which kills the process."""
        again = sig in self._signals
        self._signals.add(sig)
        if sig == signal.SIGINT and again:
            self.should_exit = self.force_exit = True
        delay = self._service.settings.drain_delay
        if again or sig == signal.SIGINT or not delay:
            self.drain()
        elif self._drain_at is None:
            self._drain_at = time.monotonic() + delay
            self._service.stop_being_ready()
            logger.info("drain delay started", extra={"fields": {"drain_delay": delay}})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals within the block."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in shutdown_signals()}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def drain(self) -> None:
        """Start draining."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._service.settings.drain_timeout
            self._service.drain()
            logger.info("draining", extra={"fields": {"in_flight": self._service.in_flight}})

    async def on_tick(self, counter: int) -> bool:
        """Check connections, the parent process and the progress of draining. Called ten times per second."""
        if counter % _TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
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
                # The remaining time is for clients that are still reading.
                self.config.timeout_graceful_shutdown = max(1, int(left))
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, reject the last requests on open connections, and end.

        Clients keep connections open between requests. If the server closes such a connection while a request
        is on its way, the client gets no response. The server therefore rejects requests until no more
        arrive. Each of these responses closes its connection.
        """
        await self._stop_listening(sockets or [])
        await self._reject_last_requests()
        await super().shutdown(sockets)

    async def _reject_last_requests(self) -> None:
        state = self.server_state
        now = time.monotonic()
        end, handled, quiet_since = now + _MAX_LAST_SECONDS, state.total_requests, now
        while state.connections and now < min(end, quiet_since + _QUIET_SECONDS) and not self.force_exit:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            if handled != state.total_requests:
                handled, quiet_since = state.total_requests, now

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Stop listening without resetting connections in the kernel's backlog, which are served."""
        duplicates = [each.dup() for each in sockets if each.fileno() >= 0]
        for server in self.servers:
            server.close()
        for each in sockets:
            each.close()
        await asyncio.sleep(_CLOSE_SECONDS)
        if multiprocessing.parent_process() is None:  # else other workers still listen on the same sockets
            for each in duplicates:
                drop_new_connections(each)
        backlog = [connection for each in duplicates for connection in _accept_all(each)]
        for each in duplicates:
            each.close()
        loop = asyncio.get_running_loop()
        for connection in backlog:
            await loop.connect_accepted_socket(self._make_protocol, connection)

    def _make_protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    listening.setblocking(False)
    with suppress(OSError):  # nobody is waiting, or the process has no file descriptor left
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection


def make_server(service: Service) -> Server:
    """A server for ``service``. Call its ``run`` with bound sockets."""
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        http=protocol_for(service),
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
    """Serve until a signal arrives and the service is drained."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        make_server(service).run(list(sockets))
    finally:
        gc.unfreeze()  # so that cycles are collected at the end


def run_worker(settings: ServeSettings, sockets: Sequence[socket.socket]) -> None:
    """Load the bundles and serve: the main function of a worker process."""
    run_server(load_service(settings), sockets)
