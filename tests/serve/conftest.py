"""Services in threads of this process, on real sockets."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from m3e_runtime.reranker import Reranker

# As root, and without a request of its own.
_CHROMIUM = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@dataclass
class Running:
    """A running service at ``url``."""

    url: str
    port: int
    service: Any
    server: Any
    socket: socket.socket
    thread: threading.Thread

    def stop(self) -> None:
        """Drain the server as SIGTERM does, and wait for its end."""
        self.server.drain()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture(scope="session")
def start(bundle):
    """Start a service with these settings. It is stopped at the end of the session."""
    pytest.importorskip("starlette", reason="the extra `serve` is not installed")
    from m3e_serve.app import load_service
    from m3e_serve.process.server import make_server
    from m3e_serve.process.sockets import bind_tcp
    from m3e_serve.settings import ModelSource, ServeSettings

    running = []

    def begin(prepare=lambda service: None, **settings) -> Running:
        settings = {"models": (ModelSource("tiny", bundle),), **settings}
        service = load_service(ServeSettings(**settings))
        prepare(service)
        server = make_server(service)
        listening = bind_tcp("127.0.0.1", 0)
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server takes too long to start"
            time.sleep(0.01)
        running.append(Running(f"http://127.0.0.1:{port}", port, service, server, listening, thread))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """Packages for node, from the folder ``M3E_NODE_PACKAGES`` in which ``npm install`` was run."""
    folder = os.environ.get("M3E_NODE_PACKAGES")
    if shutil.which("node") is None or folder is None:
        pytest.skip("node or M3E_NODE_PACKAGES, a folder with node_modules, is missing")
    return Path(folder) / "node_modules"


@pytest.fixture
def in_node(node_packages, tmp_path):
    """Run an ES module with arguments in node, and return the JSON that it prints."""

    def run(module: str, *arguments: str):
        (tmp_path / "node_modules").symlink_to(node_packages)
        (tmp_path / "test.mjs").write_text(module, encoding="utf-8")
        command = ["node", "test.mjs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium.

    Its scope is the module, because asyncio.run of other tests fails while Playwright's event loop runs.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=executable, args=_CHROMIUM)
        except playwright.Error as error:
            pytest.skip(f"Chromium does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def running(start) -> Running:
    """A service with an alias, and default settings."""
    return start(aliases={"text-embedding-ada-002": "tiny"})


@pytest.fixture(scope="session")
def http(running):
    """A client of :func:`running`."""
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def reranker_bundle(scoring_bundles) -> Path:
    """A reranker with random weights."""
    return scoring_bundles[1]


@pytest.fixture(scope="session")
def classifier_bundle(scoring_bundles) -> Path:
    """A classifier of three labels with random weights."""
    return scoring_bundles[3]


@pytest.fixture(scope="session")
def reranker(reranker_bundle) -> Reranker:
    """The reranker without a service: what answers are compared with."""
    return Reranker.load(reranker_bundle)


@pytest.fixture(scope="session")
def classifier(classifier_bundle) -> Reranker:
    """The classifier without a service."""
    return Reranker.load(classifier_bundle)


@pytest.fixture(scope="session")
def three(start, bundle, reranker_bundle, classifier_bundle) -> Running:
    """A service of an embedding model, a reranker and a classifier."""
    from m3e_serve.settings import ModelSource

    sources = [("tiny", bundle), ("reranker", reranker_bundle), ("classifier", classifier_bundle)]
    return start(
        models=tuple(ModelSource(*each) for each in sources),
        aliases={"rerank-v3.5": "reranker"},
        max_pairs=100,
    )


@pytest.fixture(scope="session")
def http3(three):
    """A client of :func:`three`."""
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=three.url, timeout=30) as client:
        yield client
