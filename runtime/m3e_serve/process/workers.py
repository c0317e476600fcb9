"""Several processes on the same sockets. They share native weights, which are mapped from their file."""

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
from m3e_serve.process.signals import ending_signals
from m3e_serve.settings import ServeSettings

__all__ = ["run_workers"]

logger = logging.getLogger(__name__)

_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # not imported: prometheus_client must see it when it is
_SOON = 10.0  # seconds: a worker that ends within them did not come to work
_MOST_FAILURES = 3  # of that kind in a row


def run_workers(settings: ServeSettings, sockets: Sequence[socket.socket], count: int, log_level: str) -> int:
    """Keep ``count`` processes serving until a signal comes; then let them answer whom they let in.

    Returns:
        The exit code: 1 where workers do not come to work.

    Raises:
        OptionError: there is no folder for temporary files.
    """
    folder = _make_folder()
    before = os.environ.get(_METRICS_FOLDER)
    os.environ[_METRICS_FOLDER] = folder  # workers inherit it
    try:
        return _Supervisor(settings, sockets, count, log_level).run()
    finally:
        if before is None:
            del os.environ[_METRICS_FOLDER]
        else:
            os.environ[_METRICS_FOLDER] = before
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> str:
    """For the figures of all workers, which each of them shows."""
    try:
        return tempfile.mkdtemp(prefix="m3e-metrics-")
    except OSError as error:
        reason = f"--workers needs a folder for temporary files: {error}"
        raise OptionError(f"{reason}; let TMPDIR name one that can be written.") from error


class _Supervisor:
    def __init__(
        self, settings: ServeSettings, sockets: Sequence[socket.socket], count: int, log_level: str
    ) -> None:
        self._sockets = list(sockets)
        self._arguments = (settings, self._sockets, log_level)
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._started: dict[BaseProcess, float] = {}
        self._ending = False
        self._failures = 0

    def run(self) -> int:
        for sig in ending_signals():
            signal.signal(sig, self._end)
        while len(self._started) < self._count:
            self._start()
        while self._started:
            wait([process.sentinel for process in self._started], timeout=1)
            for process in [each for each in self._started if not each.is_alive()]:
                self._ended(process)
        return int(self._failures > _MOST_FAILURES)

    def _start(self) -> None:
        process = self._context.Process(target=_work, args=self._arguments)
        process.start()
        self._started[process] = time.monotonic()

    def _ended(self, process: BaseProcess) -> None:
        lived = time.monotonic() - self._started.pop(process)
        if self._ending:
            return
        logger.error("a worker ended", extra={"fields": {"worker": process.pid, "code": process.exitcode}})
        self._failures = self._failures + 1 if lived < _SOON else 0
        if self._failures > _MOST_FAILURES:
            logger.critical("workers do not come to work")
            self._end()
        else:
            self._start()

    def _end(self, sig: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        self._ending = True
        for listening in self._sockets:
            listening.close()  # who connects when the last worker has closed its own is refused at once
        for process in self._started:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)  # not SIGINT, which a terminal has sent already


def _work(settings: ServeSettings, sockets: list[socket.socket], log_level: str) -> None:
    from m3e_serve.monitoring.logs import configure_logging
    from m3e_serve.process.server import run_worker

    configure_logging(log_level)
    run_worker(settings, sockets)
