"""Worker processes on the same sockets. They share the native engine's weights, which are memory-mapped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from m3e_runtime.errors import OptionError
from m3e_serve.process.signals import shutdown_signals
from m3e_serve.settings import ServeSettings

__all__ = ["run_workers"]

logger = logging.getLogger(__name__)

_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client must not be imported before it is set
_START_SECONDS = 10.0  # a worker that ends earlier has failed to start
_MAX_FAILURES = 3  # failed starts in a row


def run_workers(settings: ServeSettings, sockets: Sequence[socket.socket], count: int, log_level: str) -> int:
    """Keep ``count`` worker processes running until a signal arrives, then drain them.

    Returns:
        The exit code: 1 if workers fail to start.

    Raises:
        OptionError: a temporary folder cannot be created.
    """
    folder = _make_folder()
    before = os.environ.get(_METRICS_FOLDER)
    os.environ[_METRICS_FOLDER] = folder  # inherited by workers
    try:
        return _Supervisor(settings, sockets, count, log_level).run()
    finally:
        if before is None:
            del os.environ[_METRICS_FOLDER]
        else:
            os.environ[_METRICS_FOLDER] = before
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> str:
    """The folder in which workers share their metrics."""
    try:
        return tempfile.mkdtemp(prefix="m3e-metrics-")
    except OSError as error:
        reason = f"--workers needs a temporary folder: {error}"
        raise OptionError(f"{reason}; set TMPDIR to a writable folder.") from error


class _Supervisor:
    def __init__(
        self, settings: ServeSettings, sockets: Sequence[socket.socket], count: int, log_level: str
    ) -> None:
        self._sockets = list(sockets)
        self._arguments = (settings, self._sockets, log_level)
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._started: dict[BaseProcess, float] = {}
        self._shutting_down = False
        self._failures = 0

    def run(self) -> int:
        for sig in shutdown_signals():
            signal.signal(sig, self._shut_down)
        while len(self._started) < self._count:
            self._start()
        while self._started:
            wait([process.sentinel for process in self._started], timeout=1)
            for process in [each for each in self._started if not each.is_alive()]:
                self._handle_exit(process)
        return int(self._failures > _MAX_FAILURES)

    def _start(self) -> None:
        process = self._context.Process(target=_run_worker, args=self._arguments)
        process.start()
        self._started[process] = time.monotonic()

    def _handle_exit(self, process: BaseProcess) -> None:
        lifetime = time.monotonic() - self._started.pop(process)
        if self._shutting_down:
            return
        logger.error("a worker ended", extra={"fields": {"worker": process.pid, "code": process.exitcode}})
        self._failures = self._failures + 1 if lifetime < _START_SECONDS else 0
        if self._failures > _MAX_FAILURES:
            logger.critical("workers fail to start")
            self._shut_down()
        else:
            self._start()

    def _shut_down(self, sig: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        self._shutting_down = True
        for listening in self._sockets:
            listening.close()  # so that connections fail as soon as the workers have closed theirs
        for process in self._started:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)  # not SIGINT, which a terminal sends to workers itself


def _run_worker(settings: ServeSettings, sockets: list[socket.socket], log_level: str) -> None:
    from m3e_serve.monitoring.logs import configure_logging
    from m3e_serve.process.server import run_worker

    configure_logging(log_level)
    run_worker(settings, sockets)
