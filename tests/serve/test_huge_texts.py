"""Texts of megabytes: memory is bounded, and ``/tokenize`` responds in pieces."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time

import numpy as np
import psutil
import pytest

SIZE = 8_000_000  # bytes
CHINESE = "今天天气很好，我们去公园玩吧。"
HUGE = {
    "Chinese": CHINESE * (SIZE // len(CHINESE.encode())),
    "without a place to cut": "a" * SIZE,
    "spaces": " " * SIZE,
}
MOST_MEMORY = 100 << 20


@pytest.fixture
def peak():
    """Peak resident memory of this process, which runs the service, above that at the start."""
    process = psutil.Process()
    before = most = process.memory_info().rss
    ended = threading.Event()

    def watch():
        nonlocal most
        while not ended.wait(0.002):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    yield lambda: most - before
    ended.set()
    thread.join()


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_text_is_encoded_in_little_memory(kind, http, encoder, peak):
    text = HUGE[kind]
    answer = http.post("/embed", json={"inputs": text})
    assert answer.status_code == 200, answer.text
    expected = encoder.encode([text[:20_000]], normalize_embeddings=True)
    np.testing.assert_array_equal(np.array(answer.json(), dtype=np.float32), expected)
    assert peak() < MOST_MEMORY


def test_requests_leave_no_reference_cycles(http, peak, monkeypatch):
    """Memory must be freed without the garbage collector, which runs rarely in the service."""
    monkeypatch.setattr("m3e_serve.requests.disconnect._DELAY", 0.0)  # watch for disconnects at once
    body = json.dumps({"inputs": HUGE["Chinese"]}, ensure_ascii=False).encode()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            answer = http.post("/embed", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 200
    finally:
        gc.enable()
    assert peak() < MOST_MEMORY  # 20 bodies are 160 MB


def test_tokens_of_a_huge_text_come_in_pieces(http, encoder, peak):
    text = HUGE["Chinese"][:1_000_000]
    with http.stream("POST", "/tokenize", json={"inputs": text}) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        size = sum(map(len, answer.iter_bytes()))
    assert size > 50_000_000
    assert peak() < MOST_MEMORY


def test_tokens_are_the_same_however_long_the_text(http, encoder):
    text = CHINESE * 3000  # 45,000 characters, so that it is tokenized in parts
    (tokens,) = http.post("/tokenize", json={"inputs": text}).json()
    encoding = encoder.tokenizer.tokenizer.encode(text)
    ids = [encoding.ids[0], *(token["id"] for token in tokens[1:-1]), encoding.ids[-1]]
    assert [token["id"] for token in tokens] == ids
    assert "".join(token["text"] for token in tokens[1:-1]) == text
    assert [token["start"] for token in tokens[1:-1]] == list(range(len(text)))


def test_http_1_0_has_a_length_and_no_pieces(running):
    body = b'{"inputs": "a b c"}'
    head = f"POST /tokenize HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    headers, found = answer.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in headers.lower()
    assert f"content-length: {len(found)}".encode() in headers.lower()
    assert [token["text"] for token in json.loads(found)[0][1:-1]] == ["a", "b", "c"]


def test_a_text_that_cannot_be_split_is_rejected(http):
    answer = http.post("/tokenize", json={"inputs": ["a", "a" * 200_000]})
    assert answer.status_code == 413
    assert "text 1" in answer.json()["error"]


def test_a_huge_text_does_not_block_other_requests(running, http):
    """Generating the list of tokens takes a second. Other requests do not wait for it."""
    import httpx

    done = []

    def tokenize():
        with httpx.Client(base_url=running.url, timeout=60) as client:
            done.append(client.post("/tokenize", json={"inputs": HUGE["Chinese"][:300_000]}).status_code)

    thread = threading.Thread(target=tokenize)
    thread.start()
    answered = 0
    while not done:
        assert http.get("/livez").status_code == 200
        answered += 1
        time.sleep(0.001)
    thread.join()
    assert done == [200]
    assert answered > 20


def test_characters_in_tokenization_are_limited(encoder):
    import asyncio

    from m3e_runtime import AsyncEncoder, OverloadedError
    from m3e_runtime.scheduling.admission import MAX_TOKENIZING_CHARACTERS

    async def main():
        async with AsyncEncoder(encoder) as service:
            half = "a" * (MAX_TOKENIZING_CHARACTERS // 2 + 1)
            with service.tokenizing([half], "query"):
                with pytest.raises(OverloadedError, match="characters"):
                    await service.tokenize([half])
                assert len(await service.tokenize(["a"])) == 1
            assert len(await service.tokenize([half])) == 1

    asyncio.run(main())
