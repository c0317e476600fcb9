"""Limits of requests to a reranker: what waits, what takes too long, what is very large, and traces."""

import httpx
import pytest

from m3e_runtime.scheduling import QueueLimits

ASKED = {"query": "a", "documents": ["b", "c"]}


@pytest.fixture
def sources(reranker_bundle):
    from m3e_serve.settings import ModelSource

    return (ModelSource("reranker", reranker_bundle),)


@pytest.fixture
def held(start, hold, sources):
    """A service with a blocked engine and a queue for ten pairs."""
    found = []

    def prepare(service):
        found.append(service.models.rerankers.default.reranker)

    running = start(prepare, models=sources, queue=QueueLimits(texts=10, tokens=1000))
    running.held = hold(found[0])
    yield running
    running.held.free.set()
    running.stop()


def test_a_full_queue_is_429_in_the_format_of_each_interface(held):
    from concurrent.futures import ThreadPoolExecutor

    scheduler = held.service.models.rerankers.default.scheduler
    full = {"query": "a", "documents": ["b"] * 10}
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=held.url, timeout=30) as client:
        waiting = pool.submit(client.post, "/v1/rerank", json=full)
        assert held.held.busy.wait(20)
        assert scheduler.waiting_texts == 10
        # A request of any size counts for at most eight, so three more are too many.
        answer = client.post("/v2/rerank", json={"query": "a", "documents": ["b"] * 3})
        assert (answer.status_code, set(answer.json())) == (429, {"message", "detail"})
        assert int(answer.headers["retry-after"]) >= 1
        answer = client.post("/rerank", json={"query": "a", "texts": ["b"] * 3})
        assert (answer.status_code, answer.json()["error_type"]) == (429, "Overloaded")
        held.held.free.set()
        assert len(waiting.result().json()["results"]) == 10


def test_a_client_that_leaves_takes_its_pairs_along(held):
    import time

    scheduler = held.service.models.rerankers.default.scheduler
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{held.url}/v1/rerank", json=ASKED, timeout=0.5)
    until = time.monotonic() + 10
    while scheduler.waiting_texts:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_request_that_would_exceed_the_timeout_is_rejected_before_it_starts(start, sources):
    slow = start(models=sources, request_timeout=0.05)
    slow.service.models.rerankers.default.scheduler._pace.tokens_per_second = 1000.0
    body = {"query": "a", "documents": ["b " * 50] * 20}
    answer = httpx.post(f"{slow.url}/v1/rerank", json=body)
    slow.stop()
    assert answer.status_code == 413
    assert "send at most" in answer.json()["message"]


def test_the_number_of_pairs_and_the_size_of_bodies_are_limited(start, sources):
    running = start(models=sources, max_pairs=3, max_texts=3)
    with httpx.Client(base_url=running.url) as client:
        assert client.post("/v1/rerank", json={"query": "a", "documents": ["b"] * 3}).status_code == 200
        answer = client.post("/v1/rerank", json={"query": "a", "documents": ["b"] * 4})
        assert (answer.status_code, "at most 3" in answer.json()["message"]) == (400, True)
        answer = client.post("/v1/rerank", json={"query": "a" * (1 << 20), "documents": ["b"]})
        assert (answer.status_code, answer.json()["message"].startswith("The body is larger")) == (413, True)
        info = client.get("/info").json()
        assert (info["max_client_batch_size"], list(info["model_type"])) == (3, ["reranker"])
    running.stop()


def test_the_limit_of_bodies_follows_from_the_number_of_pairs(sources):
    from m3e_serve.settings import ServeSettings

    assert ServeSettings(models=sources, max_texts=1, max_pairs=5000).body_limit == 5000 * 8192
    assert ServeSettings(models=sources, max_texts=5000, max_pairs=1).body_limit == 5000 * 8192


def test_a_long_query_is_not_tokenized_for_each_document(start, sources):
    query = "今天天气很好 " * 50_000
    running = start(models=sources)
    documents = [f"document {number}" for number in range(100)]
    answer = httpx.post(f"{running.url}/v1/rerank", json={"query": query, "documents": documents}, timeout=60)
    running.stop()
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["warnings"] == ["100 of 100 documents were truncated."]


def test_a_failure_of_the_engine_has_the_format_of_each_interface(held):
    held.held.error = RuntimeError("out of luck")
    held.held.free.set()
    answer = httpx.post(f"{held.url}/v1/rerank", json=ASKED)
    assert (answer.status_code, answer.json()["message"]) == (500, "The engine failed.")
    answer = httpx.post(f"{held.url}/predict", json={"inputs": ["a", "b"]})
    assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
    held.held.error = None
    assert httpx.post(f"{held.url}/v1/rerank", json=ASKED).status_code == 200


def test_the_access_log_counts_pairs(start, sources, caplog):
    running = start(models=sources, access_log=True)
    with caplog.at_level("INFO", logger="m3e_serve"):
        httpx.post(f"{running.url}/v2/rerank", json={**ASKED, "query": "a secret"})
        running.stop()
    (fields,) = [record.fields for record in caplog.records if record.getMessage() == "request"]
    assert (fields["route"], fields["model"], fields["texts"]) == ("/v2/rerank", "reranker", 2)
    assert fields["tokens"] > 8
    assert "secret" not in caplog.text + str(fields)
