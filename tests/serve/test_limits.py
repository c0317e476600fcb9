"""API keys, limits of size, time and number, failures, metrics, and draining."""

import asyncio
import gzip
import hashlib
import io
import json
import logging
import socket
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import numpy as np
import pytest

from m3e_runtime import OptionError
from m3e_runtime.errors import EngineRunError
from m3e_runtime.scheduling import QueueLimits
from m3e_serve.monitoring.logs import JsonFormatter
from m3e_serve.process.syn_filter import drop_new_connections
from m3e_serve.requests.api_keys import read_keys
from m3e_serve.settings import ModelSource, ServeSettings
from raw_http import raw, read_all

SECRET = "a text that nobody else may read 机密"
REQUEST = {"model": "tiny", "input": "a"}


def ask(running, **options):
    return httpx.post(f"{running.url}/v1/embeddings", **{"json": REQUEST, "timeout": 30, **options})


def eventually(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def strict(start):
    """Small limits."""
    return start(max_body=2000, max_texts=4, receive_timeout=0.3, max_connections=20)


@pytest.fixture
def held(start, hold):
    """A service with a blocked engine and a small queue."""
    found = []

    def prepare(service):
        found.append(service.models.default.encoder)

    running = start(prepare, queue=QueueLimits(texts=10, tokens=1000), drain_timeout=20)
    running.held = hold(found[0])
    running.held.runs.clear()
    yield running
    running.held.free.set()
    running.stop()


@contextmanager
def waiting(running, count, **body):
    """Send ``count`` requests that wait for the engine, and return futures of their responses."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(ask, running, json={**REQUEST, **body}) for _ in range(count)]
        eventually(lambda: running.service.in_flight == count)
        assert running.held.busy.wait(20)
        yield futures
        running.held.free.set()


# --- keys


def test_keys_are_required_for_texts_and_models_only(start):
    digest = hashlib.sha256(b"secret").digest()
    running = start(key_digests=(hashlib.sha256(b"another").digest(), digest))
    with httpx.Client(base_url=running.url) as client:
        for path in ("/v1/embeddings", "/embed", "/similarity", "/tokenize", "/"):
            answer = client.post(path, json={})
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/models", "/v1/models/tiny", "/info"):
            assert client.get(path).status_code == 401
        for path in ("/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/"):
            assert client.get(path).status_code == 200
        for wrong in (
            "secret",
            "Bearer secre",
            "Bearer secret2",
            "Basic secret",
            "Bearer",
            "Bearer sécret".encode(),
        ):
            answer = client.post("/v1/embeddings", json=REQUEST, headers={"authorization": wrong})
            assert answer.status_code == 401
            assert b"secre" not in answer.content
        for right in ("Bearer secret", "bearer  secret"):
            answer = client.post("/v1/embeddings", json=REQUEST, headers={"authorization": right})
            assert answer.status_code == 200
        for key, status in (("secret", 200), ("another", 200), ("secre", 401), ("", 401)):
            answer = client.post("/v1/embeddings", json=REQUEST, headers={"api-key": key})
            assert answer.status_code == status
        both = {"api-key": "secret", "authorization": "Bearer a token of a proxy"}
        assert client.post("/v1/embeddings", json=REQUEST, headers=both).status_code == 200
    running.stop()


def test_keys_are_read_from_a_file_and_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\none\n\n  two  \n", encoding="utf-8")
    digests = [hashlib.sha256(key).digest() for key in (b"zero", b"one", b"two")]
    assert read_keys(str(file), {"M3E_API_KEY": "zero"}) == tuple(digests)
    file.write_text("\ufeffone\r\ntwo\r\n", encoding="utf-8")  # as editors on Windows write it
    assert read_keys(str(file), {}) == tuple(digests[1:])
    assert read_keys(None, {}) == ()
    file.write_text("# none\n", encoding="utf-8")
    for wrong in (file, tmp_path / "absent", tmp_path):
        with pytest.raises(OptionError, match="--api-key-file"):
            read_keys(str(wrong), {})


# --- sizes


def test_too_large_bodies_are_rejected_by_header_and_while_receiving(strict):
    answer = ask(strict, json={**REQUEST, "input": "a" * 2000})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    chunks = (b"a" * 100 for _ in range(30))
    assert ask(strict, json=None, content=chunks).status_code == 413


def test_too_many_texts_are_rejected(strict):
    assert ask(strict, json={**REQUEST, "input": ["a"] * 4}).status_code == 200
    assert ask(strict, json={**REQUEST, "input": ["a"] * 5}).status_code == 400


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_compressed_bodies_are_decompressed(running, encoding, pack):
    texts = [f"text {number} {hashlib.sha256(bytes([number])).hexdigest() * 20}" for number in range(100)]
    body = json.dumps({"model": "tiny", "input": texts}).encode()
    expected = ask(running, json=None, content=body)
    assert expected.status_code == 200
    answer = ask(running, json=None, content=pack(body), headers={"content-encoding": encoding})
    assert answer.json() == expected.json()


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("gzip", b"x", 400, "invalid_encoding"),
        ("gzip", gzip.compress(b"{}" * 100, mtime=0)[:-5], 400, "invalid_encoding"),
        ("gzip", gzip.compress(b"{}", mtime=0) * 2, 400, "invalid_encoding"),
        ("gzip", b"", 400, "invalid_json"),
        ("gzip", gzip.compress(b"a" * 2001, mtime=0), 413, "body_too_large"),
        ("deflate", zlib.compress(b"a" * (64 << 20)), 413, "body_too_large"),
        ("gzip", b"a" * 2001, 413, "body_too_large"),
        ("br", b"x", 415, None),
        ("gzip, gzip", b"x", 415, None),
    ],
)
def test_damaged_compressed_bodies_are_rejected(strict, encoding, body, status, code):
    answer = ask(strict, json=None, content=body, headers={"content-encoding": encoding})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_the_memory_for_bodies_is_limited(start):
    """A large body gets 429 while the memory for bodies is full. Small bodies are accepted."""
    running = start(max_body=100_000, max_texts=100, receive_timeout=20)
    head = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(raw(running, head + b" " * 99_999))
        eventually(lambda: running.service.admission.held_bytes > 1_500_000)
        large = json.dumps({"inputs": "a" * 80_000}).encode()
        for body, encoding in ((large, "identity"), (gzip.compress(large), "gzip")):
            answer = httpx.post(f"{running.url}/embed", content=body, headers={"content-encoding": encoding})
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
        assert ask(running).status_code == 200
    eventually(lambda: running.service.admission.held_bytes == 0)
    assert httpx.post(f"{running.url}/embed", content=large).status_code == 200
    running.stop()


@pytest.mark.parametrize("coding", ["identity", "Identity", "IDENTITY", ""])
def test_identity_encoding_is_accepted(strict, coding):
    assert ask(strict, headers={"content-encoding": coding}).status_code == 200


def test_endless_headers_are_rejected(strict):
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100))
    with raw(strict, b"POST /embed HTTP/1.1\r\n" + lines) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")


def test_data_that_is_not_http_is_rejected(strict):
    with raw(strict, b"\x16\x03\x01 hello\r\n\r\n" + b"a" * 100_000) as connection:
        head, _, content = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(content)["error"]["code"] == "invalid_http"


def test_an_invalid_chunk_is_rejected(strict):
    head = b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with raw(strict, head + b"no number\r\n") as connection:
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1") == 1
    assert b"invalid_http" in received
    eventually(lambda: strict.service.in_flight == 0)


def test_connections_above_the_limit_get_503(strict):
    idle = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(20)]
    eventually(lambda: len(strict.server.server_state.connections) == 20)
    counted = 'm3e_rejected_total{reason="too_many_connections"}'
    body = b" " * 100_000  # unread data must not prevent the client from reading the response
    with raw(strict, b"POST /embed HTTP/1.1\r\ncontent-length: 100000\r\n\r\n" + body) as connection:
        head, _, content = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head
    assert json.loads(content)["error"]["code"] == "too_many_connections"
    for connection in idle:
        connection.close()
    eventually(lambda: ask(strict).status_code == 200)
    assert f"{counted} 1.0" in httpx.get(f"{strict.url}/metrics").text


def test_connections_far_above_the_limit_are_dropped(strict):
    crowd = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(41)]
    assert read_all(crowd[-1]) == b""
    for connection in crowd:
        connection.close()
    eventually(lambda: ask(strict).status_code == 200)


# --- time


def test_a_body_has_a_receive_timeout(strict):
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    with raw(strict, head + b'{"model"') as connection:
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in received


def test_a_large_body_has_a_longer_timeout(start):
    """Sixteen times 128 KiB, in more than the receive timeout."""
    running = start(receive_timeout=1, max_texts=500)
    parts = [b'{"inputs": "a"', *[b" " * (1 << 17)] * 16, b"}"]

    def slowly():
        for part in parts:
            yield part
            time.sleep(0.1)

    answer = httpx.post(f"{running.url}/embed", content=slowly(), timeout=30)
    assert answer.status_code == 200, answer.text
    running.stop()


@pytest.mark.parametrize("data", [b"", b"POST /embed HT", b"POST /embed HTTP/1.1\r\nhost: x\r\n"])
def test_headers_have_a_receive_timeout(strict, data):
    with raw(strict, data) as connection:
        assert read_all(connection) == b""


def test_an_unread_response_is_dropped(start):
    running = start(receive_timeout=0.3)
    body = json.dumps({"model": "tiny", "input": ["a"] * 2000}).encode()
    request = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        connection.sendall(request * 8)
        eventually(lambda: running.server.server_state.total_requests)
        eventually(lambda: not running.server.server_state.connections)
        assert running.service.in_flight == 0
    running.stop()


def test_the_request_timeout(start, hold):
    encoders = []
    running = start(lambda service: encoders.append(service.models.default.encoder), request_timeout=0.3)
    held = hold(encoders[0])
    answer = ask(running)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "timeout"
    assert answer.headers["x-should-retry"] == "false"  # a retry would take as long
    assert "retry-after" not in answer.headers
    assert running.service.models.default.scheduler.waiting_texts == 0
    held.free.set()
    eventually(lambda: ask(running).status_code == 200)
    running.stop()


def test_disconnecting_removes_texts_from_the_queue(held):
    scheduler = held.service.models.default.scheduler
    body = json.dumps({"model": "tiny", "input": ["b"] * 5}).encode()
    request = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with waiting(held, 1) as futures:
        with raw(held, request):
            eventually(lambda: scheduler.waiting_texts == 6)
        eventually(lambda: scheduler.waiting_texts == 1)
        held.held.free.set()
        assert futures[0].result().status_code == 200
    assert held.held.runs == [1]
    eventually(lambda: held.service.in_flight == 0)


# --- full queue


def test_a_full_queue_is_429_in_the_format_of_each_interface(held):
    with waiting(held, 10):
        answer = ask(held)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        answer = httpx.post(f"{held.url}/embed", json={"inputs": "a"})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error_type"] == "Overloaded"
    figures = httpx.get(f"{held.url}/metrics").text
    assert 'm3e_rejected_total{reason="rate_limit_exceeded"} 2.0' in figures


def test_documents_leave_room_for_queries_by_the_priority_header(held):
    header = {"m3e-priority": "document"}
    with waiting(held, 8):
        assert ask(held, headers=header).status_code == 429
        assert ask(held, json={**REQUEST, "input": ["a", "b"]}).status_code == 429  # several texts: documents
        answer = ask(held, headers={"m3e-priority": "urgent"})
        assert answer.status_code == 400
        with ThreadPoolExecutor(2) as pool:
            query = pool.submit(ask, held)
            header = {"m3e-priority": "Query"}
            eventually(lambda: held.service.in_flight == 9)
            second = pool.submit(ask, held, headers=header)
            eventually(lambda: held.service.in_flight == 10)
            held.held.free.set()
            assert query.result().status_code == second.result().status_code == 200


def test_a_request_larger_than_the_queue_is_computed_in_pieces(held):
    with waiting(held, 1, input=["a"] * 11) as futures:
        held.held.free.set()
        assert len(futures[0].result().json()["data"]) == 11


def test_the_advertised_maximum_is_computed(start, encoder):
    """The maximum number of texts in ``/info``, each a chunk of the usual size in its longest encoding."""
    running = start()
    advertised = httpx.get(f"{running.url}/info").json()["max_client_batch_size"]
    texts = ["今" * 1000] * (advertised - 1) + ["最后"]
    body = json.dumps({"model": "tiny", "input": texts}).encode()  # six bytes for each character
    answer = ask(running, json=None, content=body, timeout=300)
    assert answer.status_code == 200, answer.text[:300]
    data = answer.json()["data"]
    assert len(data) == advertised
    last = np.array(data[-1]["embedding"], dtype=np.float32)
    np.testing.assert_array_equal(last, encoder.encode("最后", normalize_embeddings=True))
    running.stop()


def test_a_request_that_would_exceed_the_timeout_is_rejected_without_retry(start):
    running = start(request_timeout=0.05)
    model = running.service.models.default
    eventually(lambda: model.scheduler.alive)
    model.scheduler._pace.tokens_per_second = 1000.0  # as of a large model on a small machine
    answer = ask(running, json={**REQUEST, "input": ["今天天气很好"] * 50})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "batch_too_large"
    assert "send at most" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    answer = httpx.post(f"{running.url}/embed", json={"inputs": ["今天天气很好"] * 50})
    assert (answer.status_code, answer.json()["error_type"]) == (413, "Validation")
    running.stop()


def test_contradictory_limits_are_rejected(bundle):
    source = (ModelSource("tiny", bundle),)
    with pytest.raises(OptionError, match="--max-body 1000 is too small for --max-texts 2048"):
        ServeSettings(models=source, max_body=1000)
    assert ServeSettings(models=source, max_texts=5000).body_limit >= 5000 * 6000
    assert ServeSettings(models=source, max_body=9000).body_limit == 9000


# --- failures


@pytest.mark.parametrize("error", [EngineRunError("lost"), MemoryError(SECRET)])
def test_an_engine_failure_is_a_server_error_and_the_service_goes_on(held, error):
    held.held.error = error
    held.held.free.set()
    answer = ask(held)
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "message": "The engine failed.", "type": "server_error", "param": None, "code": "engine_failed",
    }  # fmt: skip
    answer = httpx.post(f"{held.url}/embed", json={"inputs": "a"})
    assert answer.status_code == 424
    assert answer.json()["error_type"] == "Backend"
    held.held.error = None
    assert ask(held).status_code == 200


@pytest.fixture
def logged():
    """Parsed lines of the log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_logs_never_contain_texts(start, logged, monkeypatch):
    running = start(access_log=True)
    answer = ask(running, json={**REQUEST, "input": SECRET})
    assert answer.status_code == 200
    ask(running, json={**REQUEST, "input": [SECRET], "encoding_format": SECRET})
    ask(running, json={**REQUEST, "input": [SECRET, "\ud800".encode("utf-16", "surrogatepass").hex()]})

    def fail(*_):
        raise ValueError(SECRET)

    monkeypatch.setattr(running.service.models.default.encoder, "prefix", fail)
    answer_500 = ask(running, json={**REQUEST, "input": SECRET})
    assert answer_500.status_code == 500
    assert answer_500.json()["error"]["message"] == "The service failed."
    running.stop()
    lines = [line for line in logged() if line["logger"].startswith("m3e_")]
    assert SECRET not in json.dumps(lines, ensure_ascii=False)
    accessed = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in accessed] == [200, 400, 200, 500]
    assert accessed[0]["tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert accessed[0]["request_id"] == answer.headers["x-request-id"]
    assert accessed[0]["route"] == "/v1/embeddings"
    (failed,) = [line for line in lines if line["message"] == "request failed"]
    assert failed["error"] == "ValueError"
    assert failed["trace"][-1].startswith("test_limits.py:")
    assert failed["request_id"] == answer_500.headers["x-request-id"]


# --- metrics


def test_metrics_count_requests_and_runs(start):
    running = start()
    with httpx.Client(base_url=running.url) as client:
        for body in (REQUEST, {**REQUEST, "input": ["a", "b"]}, {**REQUEST, "input": 5}):
            client.post("/v1/embeddings", json=body)
        figures = client.get("/metrics").text
    for line in (
        'm3e_requests_total{route="/v1/embeddings",status="200"} 2.0',
        'm3e_requests_total{route="/v1/embeddings",status="400"} 1.0',
        'm3e_request_seconds_count{route="/v1/embeddings"} 3.0',
        'm3e_queue_seconds_count{model="tiny"} 2.0',
        'm3e_tokenize_seconds_count{model="tiny"} 2.0',
        'm3e_padding_tokens_total{model="tiny"} 0.0',
        'm3e_waiting_tokens{model="tiny"} 0.0',
        "m3e_requests_in_flight 0.0",
    ):
        assert line in figures.splitlines()
    for name in ("m3e_compute_seconds", "m3e_batch_tokens", "m3e_batch_texts"):
        assert f'{name}_count{{model="tiny"}}' in figures
    running.stop()


def test_requests_without_a_route_are_counted(start):
    running = start()
    httpx.post(f"{running.url}/v1/chat/completions", json={})
    httpx.put(f"{running.url}/embed", json={})
    with raw(running, b"nonsense\r\n\r\n") as connection:
        read_all(connection)
    figures = httpx.get(f"{running.url}/metrics").text.splitlines()
    assert 'm3e_requests_total{route="unknown path",status="404"} 1.0' in figures
    assert 'm3e_requests_total{route="/embed",status="405"} 1.0' in figures
    assert 'm3e_requests_total{route="protocol",status="400"} 1.0' in figures
    running.stop()


def test_log_lines_have_method_path_and_client(start, logged):
    running = start(access_log=True)
    with httpx.Client(base_url=running.url) as client:
        client.post("/embed?a=b", json={"inputs": SECRET})
        client.post("/v1/chat/completions", json={})
        client.put("/embed", content=SECRET.encode())
    with raw(
        running, b"GET /embed HTTP/1.1\r\nhost: x\r\nhost: y\r\nx-request-id: mine\r\n\r\n"
    ) as connection:
        assert b"x-request-id: mine\r\n" in read_all(connection)
    running.stop()
    lines = [line for line in logged() if line["logger"].startswith("m3e_")]
    assert SECRET not in json.dumps(lines, ensure_ascii=False)
    accessed = [line for line in lines if line["message"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in accessed] == [
        ("POST", "/embed", 200),
        ("POST", "/v1/chat/completions", 404),
        ("PUT", "/embed", 405),
    ]
    assert all(line["peer"].startswith("127.0.0.1:") for line in accessed)
    (refused,) = [line for line in lines if line["message"] == "request rejected"]
    assert (refused["status"], refused["request_id"]) == (400, "mine")
    assert refused["reason"] == "The request has more than one Host header."
    assert refused["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize("path", ["/embed", "/nowhere"])
def test_a_valid_request_id_of_the_client_is_kept(running, path):
    given = "0af7651916cd43dd8448eb211c80319c/00f067aa0ba902b7;o=1"
    answer = httpx.post(running.url + path, json={"inputs": "a"}, headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    for strange in ("", "a b", "a\tb", "é".encode(), "a" * 129):
        answer = httpx.post(running.url + path, json={"inputs": "a"}, headers={"x-request-id": strange})
        assert answer.headers["x-request-id"] != strange
        assert answer.headers["x-request-id"].isascii()
        assert len(answer.headers["x-request-id"]) < 30


def test_requests_in_flight_are_shown(held):
    with waiting(held, 3):
        assert "m3e_requests_in_flight 3.0" in httpx.get(f"{held.url}/metrics").text


# --- draining

_LIVEZ = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


def test_draining_finishes_requests_in_flight_and_rejects_new_ones(held):
    with waiting(held, 4) as futures, httpx.Client(base_url=held.url) as client:
        assert client.get("/readyz").status_code == 200
        held.server.drain()
        answer = client.post("/v1/embeddings", json=REQUEST)
        assert answer.status_code == 503
        assert answer.headers["connection"] == "close"
        assert answer.json()["error"]["code"] == "shutting_down"
        assert client.post("/embed", json={"inputs": "a"}).json()["error_type"] == "Unhealthy"
        assert client.get("/readyz").status_code == client.get("/health").status_code == 503
        assert client.get("/livez").status_code == 200
        assert held.thread.is_alive()
        held.held.free.set()
        assert [future.result().status_code for future in futures] == [200] * 4
    held.thread.join(20)
    with pytest.raises(httpx.ConnectError):
        ask(held)


def test_the_drain_timeout(start, hold):
    encoders = []
    running = start(lambda service: encoders.append(service.models.default.encoder), drain_timeout=0.5)
    held = hold(encoders[0])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, running)
        assert held.busy.wait(20)
        running.server.drain()
        assert answer.result().status_code == 503
        held.free.set()  # the engine itself cannot be interrupted
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_connections_opened_before_the_end_get_a_response(start, monkeypatch):
    from m3e_serve.process import server

    monkeypatch.setattr(server, "_QUIET_SECONDS", 20)
    monkeypatch.setattr(server, "_MAX_LAST_SECONDS", 20)
    running = start()
    with raw(running, b"") as connection:
        eventually(lambda: running.server.server_state.connections)
        running.server.drain()
        eventually(lambda: running.server.should_exit)
        eventually(lambda: not all(each.is_serving() for each in running.server.servers))
        connection.sendall(b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 503 ")
    running.thread.join(20)
    assert not running.thread.is_alive()


def test_keep_alive_connections_get_one_last_response(start, monkeypatch):
    from m3e_serve.process import server

    monkeypatch.setattr(server, "_QUIET_SECONDS", 20)
    monkeypatch.setattr(server, "_MAX_LAST_SECONDS", 20)
    running = start()
    with ExitStack() as stack:
        kept = [stack.enter_context(raw(running, _LIVEZ)) for _ in range(20)]
        for connection in kept:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        running.server.drain()
        eventually(lambda: not all(each.is_serving() for each in running.server.servers))
        for connection in kept:
            connection.sendall(b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 503 ")
    running.thread.join(20)
    assert not running.thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such filter")
def test_a_socket_that_is_about_to_close_drops_new_connections():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as before:
            drop_new_connections(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            accepted, _ = listening.accept()
            with accepted:
                before.sendall(b"a")
                assert accepted.recv(1) == b"a"


def test_connections_in_the_backlog_get_a_response(start):
    running = start()
    loop = running.server.servers[0].get_loop()

    async def end_while_somebody_connects():
        with raw(running, b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n") as connection:
            running.server.drain()
            await running.server.shutdown([running.socket])  # the loop has accepted nothing in between
            return await asyncio.to_thread(read_all, connection)

    answer = asyncio.run_coroutine_threadsafe(end_while_somebody_connects(), loop).result(30)
    assert answer.startswith(b"HTTP/1.1 503 ")
    running.thread.join(20)
    assert not running.thread.is_alive()


# --- browsers


def test_other_origins_are_allowed_only_by_option(running, start):
    preflight = {"origin": "https://example.com", "access-control-request-method": "POST"}
    answer = httpx.options(f"{running.url}/v1/embeddings", headers=preflight)
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in ask(running, headers=preflight).headers
    open_ = start(cors_origins=("https://example.com",))
    answer = httpx.options(f"{open_.url}/v1/embeddings", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "https://example.com"
    assert (
        "access-control-allow-origin"
        not in httpx.options(
            f"{open_.url}/v1/embeddings", headers={**preflight, "origin": "https://example.org"}
        ).headers
    )
    open_.stop()


# --- settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"models": ()}, "no bundle"),
        ({"aliases": {"b": "c"}}, "no bundle has that name"),
        ({"aliases": {"a": "a"}}, "is the name of a bundle"),
        ({"max_body": 0}, "max_body"),
        ({"request_timeout": float("nan")}, "request_timeout"),
        ({"drain_timeout": -1}, "drain_timeout"),
        ({"drain_delay": float("nan")}, "drain_delay"),
        ({"keep_alive": float("inf")}, "keep_alive"),
    ],
)
def test_invalid_settings_are_rejected(settings, says):
    with pytest.raises(OptionError, match=says):
        ServeSettings(**{"models": (ModelSource("a", "x"),), **settings})
