"""A small encoder and a running service."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from m3e_runtime import Encoder


@pytest.fixture(scope="session")
def tiny_encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


@pytest.fixture(scope="session")
def service(tiny_bundle):
    """The address of a service of the tiny bundle."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = "from m3e_serve.cli import main; raise SystemExit(main())"
    process = subprocess.Popen([sys.executable, "-c", start, str(tiny_bundle), "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(process, url)
    yield url
    process.terminate()
    process.wait(60)


def wait_until_ready(process, url):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service has ended"
        try:
            with urllib.request.urlopen(f"{url}/readyz"):
                return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError("the service is not ready")
