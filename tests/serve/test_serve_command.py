"""``m3e-serve`` as a process: errors at the start, listening, signals, workers."""

import importlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from m3e_serve.cli import _PACKAGES, main

COMMAND = [sys.executable, "-m", "m3e_serve.cli"]
REQUEST = {"model": "tiny", "input": "a"}


class Process:
    """The process, its logs, and its address."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.logs = []
        self.other_lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self.wait_for("listening")["address"]

    def _read(self):
        for line in self.process.stderr:
            if line.startswith("{"):
                self.logs.append(json.loads(line))
            else:
                self.other_lines.append(line)

    def wait_for(self, message, count=1):
        until = time.monotonic() + 60
        while True:
            found = [line for line in self.logs if line["message"] == message]
            if len(found) >= count:
                return found[-1]
            assert time.monotonic() < until, self.logs
            assert self.process.poll() is None, self.logs
            time.sleep(0.01)

    def end(self, sig=signal.SIGTERM):
        """End the process and return its exit code."""
        self.process.send_signal(sig)
        code = self.process.wait(60)
        self._reader.join()
        assert self.other_lines == []  # such as messages of the engine's binding about leaks
        return code


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def serve(bundle):
    """Start ``m3e-serve tiny=BUNDLE …``, or with the given bundle."""
    started = []

    def begin(*arguments, model=f"tiny={bundle}"):
        started.append(Process(model, *arguments))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()
        each.process.stderr.close()


@contextmanager
def client_of(process):
    """A client of the service, which is ready."""
    if process.address.startswith("http"):
        client = httpx.Client(base_url=process.address, timeout=30)
    else:
        transport = httpx.HTTPTransport(uds=process.address)
        client = httpx.Client(base_url="http://m3e", transport=transport, timeout=30)
    until = time.monotonic() + 60
    with client:
        while not is_ready(client):
            assert time.monotonic() < until, process.logs
            time.sleep(0.05)
        yield client


def is_ready(client):
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


# --- errors at the start


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["/nowhere"], 4, "no such folder"),
        (["BUNDLE", "--alias", "a"], 2, "ALIAS=NAME"),
        (["BUNDLE", "--alias", "a=b"], 2, "no bundle has that name"),
        (["tiny=BUNDLE", "tiny=BUNDLE"], 2, "two bundles"),
        (["=BUNDLE"], 2, "NAME=BUNDLE"),
        (["BUNDLE", "--pad-to", "3"], 2, "pad_to=3"),
        (["BUNDLE", "--workers", "0"], 2, "--workers 0"),
        (["BUNDLE", "--keep-alive", "0"], 2, "keep_alive=0"),
        (["BUNDLE", "--request-timeout", "inf"], 2, "request_timeout=inf"),
        (["BUNDLE", "--drain-delay", "-1"], 2, "drain_delay=-1"),
        (["BUNDLE", "--threads", "-1"], 2, "threads=-1"),
        (["BUNDLE", "--threads", "0"], 2, "threads=0"),
        (["BUNDLE", "--max-queued-tokens", "0"], 2, "tokens=0"),
        (["BUNDLE", "--api-key-file", "/nowhere"], 2, "--api-key-file"),
        (["BUNDLE", "--host", "256.0.0.1"], 2, "--host"),
        (["BUNDLE", "--port", "99999"], 2, "--port"),
        (["BUNDLE", "--uds", "/nowhere/m3e.sock"], 2, "--uds"),
        (["BUNDLE", "--uds", "/dev/null"], 2, "not a socket"),
        (["BUNDLE", "--artifact", "none"], 2, "none"),
        (["BUNDLE", "--port", "x"], 2, "--port"),
        ([], 2, "BUNDLE"),
    ],
)
def test_errors_are_one_line(bundle, arguments, code, says, capsys):
    try:
        found = main([each.replace("BUNDLE", str(bundle)) for each in arguments])
    except SystemExit as stop:  # argparse
        found = stop.code
    assert found == code
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_an_address_in_use_is_an_error(bundle, running, capsys):
    assert main([str(bundle), "--port", str(running.port)]) == 2
    assert "in use" in capsys.readouterr().err


def test_a_model_without_a_route_is_an_error(colbert_bundle, capsys):
    assert main([str(colbert_bundle), "--port", "0"]) == 2
    assert "gives multi-vectors only" in capsys.readouterr().err


def test_a_missing_extra_says_what_to_install(bundle, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert main([str(bundle)]) == 5
    assert "m3e-runtime[serve]" in capsys.readouterr().err


def test_importing_the_runtime_imports_nothing_of_the_service():
    code = "import sys, m3e_runtime, m3e_serve.cli; "
    code += f"print([name for name in {_PACKAGES} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- listening and signals


def test_it_serves_with_a_key_and_exits_with_0(serve, bundle, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret\n", encoding="utf-8")
    alias = f"ada={bundle.name}"
    process = serve("--port", "0", "--api-key-file", keys, "--alias", alias, model=bundle)
    with client_of(process) as client:
        client.headers["authorization"] = "Bearer secret"
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == [bundle.name, "ada"]
        assert client.post("/v1/embeddings", json={"model": "ada", "input": "a"}).status_code == 200
    assert process.end() == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", process.address)
    assert all(line["level"] == "info" for line in process.logs), process.logs


def test_a_unix_socket_is_removed_at_the_end_and_replaced_if_stale(serve, tmp_path):
    path = tmp_path / "m3e.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    process = serve("--uds", path)
    with client_of(process) as client:
        assert client.post("/v1/embeddings", json=REQUEST).status_code == 200
        again = subprocess.run(
            [*COMMAND, f"tiny={tmp_path}", "--uds", str(path)], capture_output=True, text=True
        )
        assert again.returncode in (2, 4)
    assert process.end(signal.SIGINT) == 0
    assert not path.exists()


def test_a_socket_in_use_is_not_replaced(bundle, tmp_path, capsys):
    path = tmp_path / "m3e.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert main([str(bundle), "--uds", str(path)]) == 2
    assert "another process listens" in capsys.readouterr().err
    assert path.exists()


def test_a_public_address_without_a_key_is_a_warning(serve):
    process = serve("--host", "0.0.0.0", "--port", "0")
    assert any(line["level"] == "warning" and "key" in line["message"] for line in process.logs)


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_finishes_requests_in_flight(serve, workers):
    process = serve("--port", "0", "--workers", workers, "--max-queued-texts", "100000")
    with client_of(process):
        pass
    texts = ["a longer text about nothing in particular " * 5] * 20
    statuses = []

    def caller():
        with httpx.Client(base_url=process.address, timeout=60) as client:
            while True:
                answer = client.post("/v1/embeddings", json={"model": "tiny", "input": texts})
                statuses.append(answer.status_code)
                if answer.status_code == 503:
                    assert answer.json()["error"]["code"] == "shutting_down"
                    return
                assert len(answer.json()["data"]) == len(texts)

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(caller) for _ in range(8)]
        while len(statuses) < 30:
            time.sleep(0.01)
        assert process.end() == 0
        for each in callers:
            each.result()
    assert set(statuses) == {200, 503}
    assert statuses.count(503) == 8


@pytest.fixture
def hangup():
    """Set the action of SIGHUP. New processes inherit that it is ignored."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_is_like_sigterm(serve, hangup, workers):
    hangup(signal.SIG_DFL)
    process = serve("--port", "0", "--workers", workers)
    with client_of(process) as client:
        assert client.post("/v1/embeddings", json=REQUEST).status_code == 200
    assert process.end(signal.SIGHUP) == 0


def test_nohup_ignores_sighup(serve, hangup):
    hangup(signal.SIG_IGN)
    process = serve("--port", "0")
    with client_of(process) as client:
        process.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert client.post("/v1/embeddings", json=REQUEST).status_code == 200
    assert process.end() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_drain_delay_accepts_requests_while_readyz_fails(serve, workers):
    process = serve("--port", "0", "--drain-delay", 60, "--workers", workers)
    process.wait_for("Application startup complete.", workers)
    with client_of(process):
        pass
    process.process.send_signal(signal.SIGTERM)
    process.wait_for("drain delay started", workers)
    for _ in range(5):
        assert httpx.get(f"{process.address}/readyz").status_code == 503
        assert httpx.get(f"{process.address}/livez").status_code == 200
        answer = httpx.post(f"{process.address}/v1/embeddings", json=REQUEST)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"  # so that it is not reused
    start = time.monotonic()
    assert process.end() == 0  # the same signal again
    assert time.monotonic() - start < 50


def test_the_drain_delay_ends(serve):
    process = serve("--port", "0", "--drain-delay", 0.5)
    with client_of(process):
        pass
    assert process.end() == 0
    messages = [line["message"] for line in process.logs]
    assert messages.index("drain delay started") < messages.index("draining")


# --- open files


@pytest.fixture
def open_files():
    """The command with these soft and hard limits of open files."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def wrap(soft, hard):
        code = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
        return [sys.executable, "-c", code + "os.execv(sys.executable, sys.argv[1:])", *COMMAND]

    assert before[1] >= 2500 or before[1] == resource.RLIM_INFINITY
    return wrap


def test_the_limit_of_open_files_is_raised(serve, open_files, monkeypatch):
    monkeypatch.setitem(globals(), "COMMAND", open_files(256, 2500))
    process = serve("--port", "0", "--max-connections", 1000)
    with client_of(process):
        pass
    limits = Path(f"/proc/{process.process.pid}/limits").read_text()
    assert re.search(r"Max open files +2128 ", limits)
    assert process.end() == 0
    assert all(line["level"] == "info" for line in process.logs), process.logs


def test_a_low_hard_limit_reduces_connections(serve, open_files, monkeypatch):
    monkeypatch.setitem(globals(), "COMMAND", open_files(256, 256))
    process = serve("--port", "0")
    with client_of(process):
        pass
    said = process.wait_for("the limit of open files is too low for --max-connections; raise the limit to "
                            "2176 (`ulimit -n`, systemd's LimitNOFILE, docker's --ulimit nofile) or lower "
                            "--max-connections")  # fmt: skip
    assert said["max_connections"] == 64
    host, port = process.address.removeprefix("http://").split(":")
    crowd = [socket.create_connection((host, int(port))) for _ in range(100)]
    assert httpx.get(f"{process.address}/livez").status_code == 200
    assert httpx.get(f"{process.address}/v1/models").status_code == 503
    for each in crowd:
        each.close()
    assert process.end() == 0


def test_a_limit_below_one_connection_is_an_error(bundle, open_files):
    command = [*open_files(100, 100), str(bundle), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "LimitNOFILE" in done.stderr
    assert "Traceback" not in done.stderr


# --- workers


def test_workers_without_a_temporary_folder_are_an_error(bundle, monkeypatch, capsys):
    import tempfile

    def fail(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    assert main([str(bundle), "--port", "0", "--workers", "2"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("m3e-serve: --workers needs a temporary folder")
    assert "TMPDIR" in said


def test_workers_share_requests_and_metrics_and_are_restarted(serve):
    process = serve("--port", "0", "--workers", 2, "--threads", 1)
    process.wait_for("Application startup complete.", 2)
    workers = {line["pid"] for line in process.logs if line["message"] == "Application startup complete."}
    assert len(workers) == 2
    assert process.process.pid not in workers
    with client_of(process):
        pass
    for _ in range(40):  # a connection each, so that both workers get some
        assert httpx.post(f"{process.address}/v1/embeddings", json=REQUEST).status_code == 200
    counted = 'm3e_requests_total{route="/v1/embeddings",status="200"} 40.0'
    assert counted in httpx.get(f"{process.address}/metrics").text.splitlines()
    os.kill(min(workers), signal.SIGKILL)
    assert process.wait_for("a worker ended")["worker"] == min(workers)
    process.wait_for("Application startup complete.", 3)
    for _ in range(10):
        assert httpx.post(f"{process.address}/v1/embeddings", json=REQUEST).status_code == 200
    assert "m3e_requests_in_flight 0.0" in httpx.get(f"{process.address}/metrics").text
    assert process.end() == 0


def test_workers_end_with_their_parent(serve):
    process = serve("--port", "0", "--workers", 2)
    process.wait_for("Application startup complete.", 2)
    process.process.kill()
    process.process.wait()
    until = time.monotonic() + 30
    while True:  # the logs end when the last process that writes them has ended
        if not process._reader.is_alive():
            break
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.address)


def test_workers_that_fail_to_start_end_the_service(bundle, tmp_path):
    from m3e_serve.process.sockets import bind_tcp
    from m3e_serve.process.workers import run_workers
    from m3e_serve.settings import ModelSource, ServeSettings

    handlers = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT)}
    settings = ServeSettings(models=(ModelSource("gone", tmp_path),))
    try:
        with bind_tcp("127.0.0.1", 0) as bound:
            assert run_workers(settings, [bound], 1, "error") == 1
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    finally:
        for sig, handler in handlers.items():
            signal.signal(sig, handler)
