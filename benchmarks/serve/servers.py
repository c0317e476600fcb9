"""The servers that are measured, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workers import last_words

__all__ = ["INFINITY_VARIABLE", "OURS", "PEERS", "SERVERS", "Server", "ServerError", "running"]

OURS = "m3e-serve"
FASTAPI = "FastAPI + sentence-transformers"
INFINITY = "infinity"
SERVERS = {OURS: "ours-int8", FASTAPI: "sentence-transformers", INFINITY: "sentence-transformers"}
"""Name → the contestant whose model it serves."""

PEERS = [FASTAPI, INFINITY]

INFINITY_VARIABLE = "INFINITY_EMB"
"""Names the command of infinity, which needs an environment of its own."""

MODEL = "model"
RERANKER = "reranker"
"""Names of the bundles in requests to ours."""

_PATIENCE = 180.0  # seconds until a server must be ready
_ENDING = 60.0


class ServerError(RuntimeError):
    """A server cannot be had; the message says why."""


class Server:
    """A process that answers at ``port``. Ours may serve a reranker, too.

    Raises:
        ServerError: it does not start.
    """

    path = "/v1/embeddings"

    def __init__(
        self, name: str, model: Path, threads: int, *options: str, reranker: Path | None = None
    ) -> None:
        self.name = name
        self.port = _free_port()
        command = [*_command(name, model, self.port, threads, reranker), *options]
        if name == INFINITY:
            self.path = "/embeddings"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        try:
            self.process = subprocess.Popen(command, stdout=self._said, stderr=self._said, env=environment)
        except OSError as error:
            raise ServerError(f"its command cannot be run ({error.strerror})") from error
        self._wait_until_ready()

    def close(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        try:
            return self.process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def said(self) -> str:
        """What it has written so far."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace")

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _PATIENCE
        while not self._ready():
            if self.process.poll() is not None:
                raise ServerError(last_words(self.process.returncode, self.said()))
            if time.monotonic() > until:
                self.close()
                raise ServerError(f"it is not ready after {_PATIENCE:g} seconds")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def running(
    names: Sequence[str], models: dict[str, Path | str], threads: int
) -> Iterator[dict[str, Server | str]]:
    """These servers, or in place of one the reason why it is not there.

    ``models`` gives the model of each contestant, or the reason why there is none.
    """
    servers: dict[str, Server | str] = {}
    try:
        for name in names:
            model = models[SERVERS[name]]
            try:
                servers[name] = model if isinstance(model, str) else Server(name, model, threads)
            except ServerError as error:
                servers[name] = str(error)
        yield servers
    finally:
        for server in servers.values():
            if isinstance(server, Server):
                server.close()


def _command(name: str, model: Path, port: int, threads: int, reranker: Path | None) -> list[str]:
    if name == OURS:
        bundles = [f"{MODEL}={model}", *([] if reranker is None else [f"{RERANKER}={reranker}"])]
        return [sys.executable, "-m", "m3e_serve.cli", *bundles, "--port", str(port),
                "--threads", str(threads)]  # fmt: skip
    if name == FASTAPI:
        if importlib.util.find_spec("fastapi") is None:
            raise ServerError("fastapi is not installed")
        return [sys.executable, "-m", "benchmarks.serve.fastapi_server", str(model), str(port), str(threads)]
    command = os.environ.get(INFINITY_VARIABLE)
    if command is None:
        raise ServerError(f"{INFINITY_VARIABLE} does not name its command")
    return [command, "v2", "--model-id", str(model), "--served-model-name", MODEL, "--engine", "torch",
            "--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--batch-size", "32",
            "--port", str(port), "--host", "127.0.0.1", "--log-level", "warning"]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
