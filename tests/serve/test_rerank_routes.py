"""``/v1/rerank`` and ``/v2/rerank``, and several models of different tasks in one service."""

import numpy as np
import pytest

QUERY = "如何更换花呗绑定银行卡"
DOCUMENTS = ["今天天气很好", "花呗更改绑定银行卡", "a longer English sentence about nothing", "short"]
ASKED = {"model": "reranker", "query": QUERY, "documents": DOCUMENTS}


def answer_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert content["message"] == content["detail"]
    return content["message"]


@pytest.fixture(scope="module")
def expected(reranker):
    """Scores of the documents, and how many tokens they have with the query."""
    pairs = [(QUERY, document) for document in DOCUMENTS]
    return reranker.predict(pairs, activation_fn="sigmoid"), sum(map(len, reranker.tokenize(pairs).ids))


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/v1/v1/rerank", "/v1/rerank/"])
def test_scores_are_the_rerankers_to_the_last_bit(http3, expected, path):
    scores, tokens = expected
    answer = answer_of(http3.post(path, json=ASKED))
    order = np.argsort(-scores, kind="stable").tolist()
    assert [each["index"] for each in answer["results"]] == order
    found = np.array([each["relevance_score"] for each in answer["results"]], dtype=np.float32)
    np.testing.assert_array_equal(found, scores[order])
    assert answer["model"] == "reranker"
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answer["meta"] == {"api_version": {"version": path[2]}, "tokens": {"input_tokens": tokens}}


def test_top_n_and_documents(http3):
    whole = answer_of(http3.post("/v1/rerank", json=ASKED))["results"]
    for top_n in (1, 2, 4, 100):
        assert answer_of(http3.post("/v1/rerank", json={**ASKED, "top_n": top_n}))["results"] == whole[:top_n]
    assert [each["document"]["text"] for each in whole] == [DOCUMENTS[each["index"]] for each in whole]
    for path, asked, returned in (
        ("/v1/rerank", {"return_documents": False}, False),
        ("/v2/rerank", {}, False),
        ("/v2/rerank", {"return_documents": True}, True),
    ):
        results = answer_of(http3.post(path, json={**ASKED, **asked}))["results"]
        assert all(("document" in each) is returned for each in results)


def test_documents_may_be_objects_with_a_text(http3):
    objects = [{"text": text, "title": "ignored"} if at % 2 else text for at, text in enumerate(DOCUMENTS)]
    answer = answer_of(
        http3.post("/v1/rerank", json={**ASKED, "documents": objects, "rank_fields": ["text"]})
    )
    assert answer["results"] == answer_of(http3.post("/v1/rerank", json=ASKED))["results"]


def test_truncated_documents_are_counted(http3, reranker):
    documents = ["short", "今" * 600, "天" * 600]
    meta = answer_of(http3.post("/v2/rerank", json={**ASKED, "documents": documents}))["meta"]
    assert meta["warnings"] == ["2 of 3 documents were truncated."]
    for field in ("truncate", "truncation"):
        error = error_of(http3.post("/v1/rerank", json={**ASKED, "documents": documents, field: False}), 400)
        assert error.startswith("documents[1] has more than the 512 tokens")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 101}, "at most 100"),
        ({"documents": [{"image": "http://a"}]}, "text"),
        ({"documents": ["a", 5]}, "documents"),
        ({"documents": None}, "documents"),
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"top_n": 0}, "top_n"),
        ({"top_k": 3}, "top_n"),
        ({"instruction": "rank"}, "instruction"),
        ({"rank_fields": ["title", "text"]}, "rank_fields"),
        ({"max_tokens_per_doc": 511}, "max_tokens_per_doc"),
        ({"max_chunks_per_doc": 0}, "max_chunks_per_doc"),
        ({"model": "tiny"}, "not a reranker; available: reranker"),
        ({"model": "classifier"}, "not a reranker; available: reranker"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(http3, changed, named):
    assert named in error_of(http3.post("/v1/rerank", json={**ASKED, **changed}), 400)


def test_what_changes_nothing_is_accepted(http3):
    asked = {"max_tokens_per_doc": 4096, "max_chunks_per_doc": 10, "priority": 0, "instruction": None}
    found = answer_of(http3.post("/v2/rerank", json={**ASKED, **asked}))["results"]
    assert found == answer_of(http3.post("/v2/rerank", json=ASKED))["results"]


def test_models_are_selected_by_name_within_their_task(http3):
    named = answer_of(http3.post("/v1/rerank", json=ASKED))
    for model in ("rerank-v3.5", None):
        assert (
            answer_of(http3.post("/v1/rerank", json={**ASKED, "model": model}))["results"] == named["results"]
        )
    assert "reranker" in error_of(http3.post("/v1/rerank", json={**ASKED, "model": "rerank-v9"}), 404)
    listed = answer_of(http3.get("/v1/models"))["data"]
    assert {each["id"]: each["task"] for each in listed} == {
        "tiny": "embed",
        "reranker": "rerank",
        "classifier": "classify",
        "rerank-v3.5": "rerank",
    }
    assert answer_of(http3.get("/v1/models/reranker"))["task"] == "rerank"
    assert [each["name"] for each in answer_of(http3.get("/api/tags"))["models"]] == ["tiny"]


def test_embedding_routes_use_the_embedding_model(http3, encoder):
    answer = answer_of(http3.post("/v1/embeddings", json={"input": QUERY}))
    assert answer["model"] == "tiny"
    found = np.array(answer["data"][0]["embedding"], dtype=np.float32)
    np.testing.assert_array_equal(found, encoder.encode(QUERY, normalize_embeddings=True))
    refused = http3.post("/v1/embeddings", json={"input": QUERY, "model": "reranker"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "model_not_supported"
    assert "available: tiny" in refused.json()["error"]["message"]


def test_a_service_without_a_reranker_says_so(http):
    assert "none is served" in error_of(http.post("/v1/rerank", json={"query": "a", "documents": ["b"]}), 400)
    assert "none is served" in error_of(http.post("/v2/rerank", json={**ASKED, "model": "tiny"}), 400)
    assert error_of(http.get("/v2/rerank"), 405)


def test_any_model_is_one_of_each_task(start, bundle, reranker_bundle):
    import httpx

    from m3e_runtime import OptionError
    from m3e_serve.app import load_service
    from m3e_serve.settings import ModelSource, ServeSettings

    sources = (ModelSource("tiny", bundle), ModelSource("reranker", reranker_bundle))
    running = start(models=sources, any_model=True)
    asked = {**ASKED, "model": "rerank-english-v3.0"}
    assert answer_of(httpx.post(f"{running.url}/v1/rerank", json=asked))["model"] == "reranker"
    answer = answer_of(httpx.post(f"{running.url}/v1/embeddings", json={"input": "a", "model": "ada"}))
    assert answer["model"] == "tiny"
    running.stop()
    with pytest.raises(OptionError, match="--any-model"):
        load_service(ServeSettings(models=(*sources, ModelSource("other", reranker_bundle)), any_model=True))


def test_metrics_and_the_access_log_name_model_and_task(http3, three):
    answer_of(http3.post("/v1/rerank", json=ASKED))
    metrics = http3.get("/metrics").text
    for line in (
        'm3e_model_info{model="reranker",task="rerank"} 1.0',
        'm3e_model_info{model="tiny",task="embed"} 1.0',
        'm3e_requests_total{route="/v1/rerank",status="200"}',
        'm3e_request_texts_bucket{le="4.0",model="reranker"}',
        'm3e_batch_tokens_count{model="reranker"}',
    ):
        assert line in metrics


def test_requests_of_all_tasks_at_once(http3, encoder, reranker):
    """They share the cores, and every answer is right."""
    from concurrent.futures import ThreadPoolExecutor

    count = 24
    texts = [f"{QUERY} {number}" for number in range(count)]
    vectors = encoder.encode(texts, normalize_embeddings=True)
    scores = reranker.predict([(QUERY, text) for text in texts], activation_fn="sigmoid")

    def embed(number):
        return http3.post("/embed", json={"inputs": texts[number]}).json()[0]

    def rerank(number):
        body = {**ASKED, "documents": texts[: number + 1], "return_documents": False}
        results = http3.post("/v1/rerank", json=body).json()["results"]
        return {each["index"]: np.float32(each["relevance_score"]) for each in results}

    with ThreadPoolExecutor(8) as pool:
        embedded, reranked = pool.map(embed, range(count)), pool.map(rerank, range(count))
        np.testing.assert_array_equal(np.array(list(embedded), dtype=np.float32), vectors)
        for number, found in enumerate(reranked):
            assert found == dict(enumerate(scores[: number + 1]))
