"""HTTP/1.1 on the wire: ``Upgrade``, partial and ambiguous requests, and rejections that clients can read."""

import asyncio
import hashlib
import http.client
import itertools
import json
import socket
import time
import urllib.error
import urllib.request

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

import httptools
import uvicorn
from uvicorn.server import ServerState

from m3e_serve.connections.protocol import protocol_for
from m3e_serve.service import Service
from m3e_serve.settings import ModelSource, ServeSettings
from raw_http import raw, read_all

OFFERS = ["h2c", "websocket", "TLS/1.0", "HTTP/2.0, SHTTP/1.3", "nonsense", "a" * 500]
LARGE = b" " * (30 << 20)


class Answers:
    """Parses the responses on a connection."""

    def __init__(self):
        self.found = []
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def feed(self, data):
        self._parser.feed_data(data)
        return self

    def on_body(self, body):
        self._body += body

    def on_message_complete(self):
        self.found.append((self._parser.get_status_code(), self._body))
        self._body = b""


class MemoryTransport(asyncio.Transport):
    """Records what is written."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += data

    def write_eof(self):
        self.closed = True

    close = abort = write_eof

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return 0

    def pause_reading(self):
        pass

    resume_reading = pause_reading


async def echo(scope, receive, send):
    """Responds with the request that it received."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    names = sorted(name.decode() for name, _ in scope["headers"])
    content = json.dumps([scope["method"], scope["path"], body.decode("latin-1"), names]).encode()
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def converse(packets):
    """Statuses and contents of the responses to these packets."""

    async def main():
        protocol_class = protocol_for(Service(ServeSettings(models=(ModelSource("a", "a"),)), models=None))
        config = uvicorn.Config(echo, http=protocol_class, log_config=None, access_log=False)
        protocol, transport = protocol_class(config, ServerState(), {}), MemoryTransport()
        protocol.connection_made(transport)
        for packet in packets:
            protocol.data_received(packet)
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        return Answers().feed(transport.written).found

    return [(status, json.loads(content)) for status, content in asyncio.run(main())]


def in_chunks(body, size):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@st.composite
def requests(draw):
    """A request on the wire, and what the application must receive."""
    method = draw(st.sampled_from(["POST", "PUT", "GET"]))
    path = draw(st.sampled_from(["/embed", "/v1/embeddings"]))
    body = draw(st.one_of(st.binary(max_size=40), st.just(b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")))
    offer = draw(st.one_of(st.none(), st.sampled_from(OFFERS)))
    connection = draw(st.sampled_from(["Upgrade", "upgrade, HTTP2-Settings", "keep-alive, Upgrade"]))
    chunk = draw(st.one_of(st.none(), st.integers(1, 50)))
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"Connection: {connection}", f"Upgrade: {offer}"] if offer is not None else []
    lines += [f"Content-Length: {len(body)}"] if chunk is None else ["Transfer-Encoding: chunked"]
    content = body if chunk is None else in_chunks(body, chunk)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content, [method, path, body.decode("latin-1")]


def split(data, places):
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(bounds) if start < stop]


@settings(deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=20))
def test_upgrade_is_ignored_in_any_packets(sent, places):
    answers = converse(split(b"".join(data for data, _ in sent), places))
    assert [status for status, _ in answers] == [200] * len(sent)
    assert [content[:3] for _, content in answers] == [expected for _, expected in sent]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True])
def test_upgrade_is_ignored_byte_by_byte(offer, chunked):
    body = b'{"inputs": "a"}'
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n\r\n"
    data = head % (offer.encode(), framing) + (in_chunks(body, 4) if chunked else body)
    answers = converse([data[place : place + 1] for place in range(len(data))] * 2)
    assert [content[:3] for _, content in answers] == [["POST", "/embed", body.decode()]] * 2


def test_upgrade_is_ignored_in_http_1_0():
    head = b"POST /embed HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n"
    assert [content[2] for _, content in converse([head, b"a"])] == ["a"]


def test_trailers_do_not_become_headers():
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    tail = b"1\r\na\r\n0\r\nAuthorization: Bearer secret\r\nContent-Encoding: gzip\r\n\r\n"
    ((status, content),) = converse([head + tail])
    assert status == 200
    assert content[3] == ["host", "transfer-encoding"]


OFFER = b"Upgrade: h2c\r\nConnection: Upgrade\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "status", "says"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3", 400, "Content-Length"),
        (b"Content-Length: 0\r\nContent-Length: 36", 400, "Duplicate Content-Length"),
        (b"Content-Length: 0, 36", 400, "Content-Length"),
        (b"Content-Length: +3", 400, "Content-Length"),
        (b"Content-Length : 3", 400, "header"),
        (b"Content-Length: 3\n", 400, "CR"),
        (b"Transfer-Encoding: gzip, chunked", 501, "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: identity", 501, "Transfer-Encoding"),
        (b"X: a\r\n b: c", 400, "whitespace"),
        (b"X: a\0b", 400, "header value"),
        (b"Host: y", 400, "more than one Host"),
        (OFFER + b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400, "Transfer-Encoding"),
        (OFFER + b"Transfer-Encoding: gzip, chunked", 501, "Transfer-Encoding"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("each_byte", [False, True])
def test_ambiguous_requests_are_rejected_with_the_reason(lines, status, says, each_byte):
    data = b"POST /embed HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n" + SMUGGLED
    packets = [data[place : place + 1] for place in range(len(data))] if each_byte else [data]
    ((found, content),) = converse(packets)
    assert found == status
    assert says in content["error"]["message"]


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "version"),
        (b"GET /\r\n\r\n", 505, "version"),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400, "version"),
        (b"HELO example.com\r\n", 400, "method"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "url"),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED, 501, "CONNECT"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n" + SMUGGLED, 501, "CONNECT"),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
            501,
            "Transfer-Encoding",
        ),
    ],
)
def test_syntax_errors_are_rejected_with_the_reason(data, status, says):
    ((found, content),) = converse([data])
    assert found == status
    assert says in content["error"]["message"]


def test_requests_before_a_syntax_error_get_their_responses_first():
    good = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
    assert [status for status, _ in converse([good + good + b"nonsense\r\n\r\n"])] == [200, 200, 400]
    broken = b"POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"
    assert [status for status, _ in converse([good + broken])] == [200, 400]


@pytest.mark.parametrize("tail", [b"0\r\nx: ", b"1;x=", b"0\r\nx: a\r\n"])
def test_the_overhead_of_chunks_and_trailers_is_limited(tail):
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    more = tail * 2000 if tail.endswith(b"\n") else b"a" * 1000
    answers = converse([head + tail, *[more] * 100])
    assert [status for status, _ in answers] in ([431], [400])


def test_small_chunks_are_accepted():
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = in_chunks(b"a" * 100_000, 1)
    packets = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    assert [status for status, _ in converse([head, *packets])] == [200]


def test_a_long_body_does_not_count_for_the_next_headers():
    body = b"a" * 200_000
    data = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + body
    assert [status for status, _ in converse([data + data[:30], data[30:]])] == [200, 200]


# --- over real connections


def is_reset(connection):
    try:
        connection.sendall(b"a" * 1000)
    except ConnectionError:
        return True
    return False


def a_request(path="/embed", body=b'{"inputs": "a"}', *lines):
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def small(start):
    """A service with small bodies and an API key."""
    return start(max_body=1000, max_texts=1, key_digests=(hashlib.sha256(b"secret").digest(),))


REFUSALS = [
    ("POST", "/embed", {"Authorization": "Bearer secret"}, 413),
    ("POST", "/embed", {"Authorization": "Bearer secret", "Content-Encoding": "zstd"}, 415),
    ("POST", "/embed", {}, 401),
    ("POST", "/nowhere", {}, 404),
    ("PUT", "/embed", {}, 405),
    ("POST", "/livez", {}, 405),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSALS)
def test_clients_that_send_a_large_body_first_can_read_the_rejection(small, method, path, headers, status):
    request = urllib.request.Request(small.url + path, LARGE, headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == status
    assert json.loads(refused.value.read())["error"]


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSALS)
@pytest.mark.parametrize("chunked", [False, True])
def test_clients_can_read_a_rejection_on_a_keep_alive_connection(
    small, method, path, headers, status, chunked
):
    client = http.client.HTTPConnection("127.0.0.1", small.port, timeout=30)
    body = iter([LARGE[: 1 << 20]] * 30) if chunked else LARGE
    client.request(method, path, body, headers)
    answer = client.getresponse()
    assert answer.status == status
    assert json.loads(answer.read())["error"]
    if not answer.will_close:  # and then it is kept
        client.request("GET", "/livez")
        assert client.getresponse().status == 200
    client.close()


def test_clients_can_read_a_rejection_while_draining(start, hold):
    encoders = []
    running = start(lambda service: encoders.append(service.models.default.encoder))
    held = hold(encoders[0])
    with raw(running, a_request()) as waiting:
        assert held.busy.wait(20)
        running.server.drain()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{running.url}/embed", LARGE, timeout=30)
        assert refused.value.code == 503
        held.free.set()
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
    running.stop()


def test_a_rejection_that_is_not_read_is_dropped(small):
    with raw(small, a_request("/embed", b"", "Authorization: Bearer secret", "Expect: 100-continue")):
        pass
    head = (
        b"POST /embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 99999999\r\n\r\n"
    )
    with raw(small, head) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
        assert connection.recv(1) == b""
        eventually(lambda: not small.server.server_state.connections)


def test_a_rejected_client_may_send_longer_than_the_receive_timeout(start):
    running = start(receive_timeout=0.3, max_body=1000, max_texts=1)
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with raw(running, head) as connection:
        for _ in range(20):
            connection.sendall(b"a" * 1000)
            running.thread.join(0.1)
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    running.stop()


def test_an_endless_body_after_a_rejection_is_dropped(start):
    running = start(receive_timeout=0.3)
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999\r\n\r\n"
    with raw(running, head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        eventually(lambda: is_reset(connection))
    running.stop()


def test_keep_alive_closes_idle_connections(start):
    running = start(keep_alive=0.3)
    with raw(running, a_request()) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert connection.recv(65536) == b""
    running.stop()


# --- clients that close their sending side


@pytest.mark.parametrize("count", [1, 3])
def test_clients_that_close_their_sending_side_get_all_responses(running, count):
    with raw(running, a_request() * count) as connection:
        connection.shutdown(socket.SHUT_WR)
        answers = Answers().feed(read_all(connection)).found
    assert [status for status, _ in answers] == [200] * count


def test_clients_that_close_their_sending_side_are_probed_while_they_wait(start, hold):
    encoders = []
    running = start(lambda service: encoders.append(service.models.default.encoder))
    held = hold(encoders[0])
    with raw(running, a_request()) as connection:
        assert held.busy.wait(20)
        connection.shutdown(socket.SHUT_WR)
        running.thread.join(0.5)
        assert running.service.in_flight == 1
        held.free.set()
        ((status, content),) = Answers().feed(read_all(connection)).found
    assert status == 200
    assert len(json.loads(content)) == 1
    running.stop()


def test_an_incomplete_body_is_rejected(running):
    with raw(running, a_request()[:-5]) as connection:
        connection.shutdown(socket.SHUT_WR)
        ((status, content),) = Answers().feed(read_all(connection)).found
    assert status == 400
    assert json.loads(content)["error"]["code"] == "incomplete_body"


# --- at the limit of connections


def eventually(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def full(start):
    """A service with the maximum number of connections."""
    running = start(max_connections=4)
    crowd = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(4)]
    eventually(lambda: len(running.server.server_state.connections) == 4)
    yield running
    for each in crowd:
        each.close()
    running.stop()


def test_health_checks_succeed_above_the_limit_of_connections(full):
    for path in ("/livez", "/readyz", "/health", "/metrics", "/livez?verbose"):
        answer = httpx.get(full.url + path)
        assert answer.status_code == 200, path
        assert answer.headers["connection"] == "close"
    refused = httpx.get(f"{full.url}/v1/models")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "too_many_connections"


def test_silent_connections_above_the_limit_get_503(full):
    with raw(full) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 503 ")


def test_connections_above_the_limit_can_read_503_after_a_large_body(full):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{full.url}/embed", LARGE, timeout=30)
    assert refused.value.code == 503
