"""``/rerank`` and ``/predict`` as text-embeddings-inference has them."""

import numpy as np
import pytest

QUERY = "如何更换花呗绑定银行卡"
TEXTS = ["今天天气很好", "花呗更改绑定银行卡", "a longer English sentence about nothing", "", "short"]
PAIRS = [(QUERY, text) for text in TEXTS]
HEADERS = (
    *("x-compute-time", "x-compute-characters", "x-compute-tokens", "x-total-time"),
    *("x-tokenization-time", "x-queue-time", "x-inference-time"),
)


def ranks_of(answer):
    """Scores by index, after checking that the answer is in descending order."""
    assert answer.status_code == 200, answer.text
    ranks = answer.json()
    scores = [rank["score"] for rank in ranks]
    assert scores == sorted(scores, reverse=True)
    return {rank["index"]: np.float32(rank["score"]) for rank in ranks}


def predictions_of(answer, labels):
    """Scores float32 ``[n, labels]``, after checking that labels are in descending order."""
    assert answer.status_code == 200, answer.text
    rows = answer.json() if isinstance(answer.json()[0], list) else [answer.json()]
    for row in rows:
        scores = [each["score"] for each in row]
        assert scores == sorted(scores, reverse=True)
    by_label = [{each["label"]: each["score"] for each in row} for row in rows]
    return np.array([[row[label] for label in labels] for row in by_label], dtype=np.float32)


def error_of(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == kind
    return answer.json()["error"]


@pytest.mark.parametrize("raw", [False, True])
def test_scores_are_the_rerankers_to_the_last_bit(http3, reranker, raw):
    found = ranks_of(http3.post("/rerank", json={"query": QUERY, "texts": TEXTS, "raw_scores": raw}))
    expected = reranker.predict(PAIRS, activation_fn="identity" if raw else "sigmoid")
    np.testing.assert_array_equal([found[at] for at in range(len(TEXTS))], expected)


def test_texts_are_returned_if_asked_for(http3):
    ranks = http3.post("/rerank", json={"query": QUERY, "texts": TEXTS, "return_text": True}).json()
    assert [rank["text"] for rank in ranks] == [TEXTS[rank["index"]] for rank in ranks]
    assert "text" not in http3.post("/rerank", json={"query": QUERY, "texts": TEXTS}).json()[0]


def test_equal_scores_keep_the_order_of_the_texts(http3):
    ranks = http3.post("/rerank", json={"query": "a", "texts": ["b", "b", "b"]}).json()
    assert [rank["index"] for rank in ranks] == [0, 1, 2]


def test_headers_are_teis(http3, reranker):
    headers = http3.post("/rerank", json={"query": QUERY, "texts": TEXTS}).headers
    assert headers["x-compute-type"] == "cpu"
    assert all(int(headers[name]) >= 0 for name in HEADERS)
    assert int(headers["x-compute-characters"]) == sum(len(QUERY) + len(text) for text in TEXTS)
    tokens = sum(map(len, reranker.tokenize(PAIRS).ids))
    assert int(headers["x-compute-tokens"]) == tokens


def test_truncation(http3, reranker):
    text = "今" * reranker.max_length
    expected = reranker.predict([(QUERY, text)], activation_fn="sigmoid")
    for truncate in ({}, {"truncate": True}, {"truncate": None}):
        found = ranks_of(http3.post("/rerank", json={"query": QUERY, "texts": [text], **truncate}))
        assert found[0] == expected[0]
    body = {"query": QUERY, "texts": ["a", text], "truncate": False}
    assert error_of(http3.post("/rerank", json=body), 413, "Validation").startswith("texts[1] has more than")


def test_pairs_are_not_truncated_at_the_left(http3, reranker):
    body = {"query": QUERY, "texts": TEXTS, "truncation_direction": "Left"}
    assert ranks_of(http3.post("/rerank", json=body))  # nothing has to be truncated
    body["texts"] = ["a", "今" * reranker.max_length]
    error = error_of(http3.post("/rerank", json=body), 413, "Validation")
    assert error.startswith("texts[1] ")
    assert "at the right only" in error


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("inputs", "pairs"),
    [
        ("a text", [("a text",)]),
        (["a text"], [("a text",)]),
        (["a", "pair"], [("a", "pair")]),
        ([["a text"], ["a", "pair"], [""]], [("a text",), ("a", "pair"), ("",)]),
        ([["a", "pair"]], [("a", "pair")]),
    ],
)
def test_predictions_are_the_classifiers_to_the_last_bit(start_classifier, classifier, inputs, pairs, raw):
    answer = start_classifier.post("/predict", json={"inputs": inputs, "raw_scores": raw})
    assert isinstance(answer.json()[0], list) == isinstance(inputs[0], list)
    expected = classifier.predict(pairs, activation_fn="identity" if raw else "softmax")
    np.testing.assert_array_equal(predictions_of(answer, classifier.labels), expected)


@pytest.fixture(scope="module")
def start_classifier(start, classifier_bundle):
    """A client of a service of the classifier alone."""
    import httpx

    from m3e_serve.settings import ModelSource

    running = start(models=(ModelSource("classifier", classifier_bundle),))
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client
    running.stop()


def test_a_reranker_predicts_its_one_label(http3, reranker):
    found = predictions_of(
        http3.post("/predict", json={"inputs": [list(pair) for pair in PAIRS]}), reranker.labels
    )
    np.testing.assert_array_equal(found[:, 0], reranker.predict(PAIRS, activation_fn="sigmoid"))


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "named"),
    [
        ("/rerank", {"query": "a", "texts": []}, 400, "Empty", "texts"),
        ("/rerank", {"query": "a", "texts": ["a"] * 101}, 413, "Validation", "at most 100"),
        ("/rerank", {"query": "a"}, 422, "Validation", "texts"),
        ("/rerank", {"query": "a", "documents": ["b"]}, 422, "Validation", "go to /v1/rerank"),
        ("/rerank", {"query": ["a"], "texts": ["b"]}, 422, "Validation", "query"),
        ("/rerank", {"query": "a", "texts": [{"text": "b"}]}, 422, "Validation", "texts"),
        ("/rerank", {"query": "a", "texts": ["b"], "truncation_direction": "Up"}, 422, "Validation", "Up"),
        ("/predict", {"inputs": []}, 400, "Empty", "inputs"),
        ("/predict", {"inputs": [["a"]] * 101}, 413, "Validation", "at most 100"),
        ("/predict", {"inputs": ["a", "b", "c"]}, 422, "Validation", "3 texts"),
        ("/predict", {"inputs": [["a"], ["b", "c", "d"]]}, 422, "Validation", "inputs[1]"),
        ("/predict", {"inputs": [["a"], []]}, 422, "Validation", "inputs[1]"),
        ("/predict", {"inputs": [["a"], "b"]}, 422, "Validation", "inputs[1]"),
        ("/predict", {"inputs": 5}, 422, "Validation", "inputs"),
    ],
)
def test_errors_have_teis_format(http3, path, body, status, kind, named):
    assert named in error_of(http3.post(path, json=body), status, kind)


def test_the_root_is_the_route_of_the_first_models_task(start_classifier, http3):
    assert http3.post("/", json={"inputs": "a"}).json() == http3.post("/embed", json={"inputs": "a"}).json()
    assert start_classifier.post("/", json={"inputs": "a"}).json()[0]["label"].startswith("LABEL_")


def test_info_has_teis_model_type(start_classifier, http3):
    names = {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    info = start_classifier.get("/info").json()
    assert info["model_type"] == {
        "classifier": {"id2label": {str(n): k for k, n in names.items()}, "label2id": names}
    }
    assert (info["max_client_batch_size"], info["max_input_length"]) == (1000, 512)
    tasks = [each["task"] for each in http3.get("/info").json()["m3e"]]
    assert tasks == ["embed", "rerank", "classify"]


def test_a_task_without_a_model_is_an_error_of_the_backend(start_classifier, http):
    for client, path, body, needed in (
        (start_classifier, "/embed", {"inputs": "a"}, "an embedding model"),
        (
            start_classifier,
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": ["b"]}},
            "an embedding",
        ),
        (start_classifier, "/rerank", {"query": "a", "texts": ["b"]}, "a reranker"),
        (http, "/rerank", {"query": "a", "texts": ["b"]}, "a reranker"),
        (http, "/predict", {"inputs": "a"}, "a reranker or classifier"),
    ):
        assert needed in error_of(client.post(path, json=body), 424, "Backend")
