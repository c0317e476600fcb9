"""The routes of text-embeddings-inference."""

import numpy as np
import pytest

TEXTS = ["今天天气很好", "short", "a longer English sentence about nothing", ""]


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return np.array(answer.json(), dtype=np.float32)


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_type"}
    return answer.json()


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_vectors_are_the_encoders_to_the_last_bit(http, encoder, path):
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_array_equal(vectors_of(http.post(path, json={"inputs": TEXTS})), expected)
    np.testing.assert_array_equal(vectors_of(http.post(path, json={"inputs": TEXTS[0]})), expected[:1])
    many = [f"text {number}" for number in range(130)]
    found = vectors_of(http.post(path, json={"inputs": many}))
    np.testing.assert_array_equal(found, encoder.encode(many, normalize_embeddings=True))


def test_normalize_and_dimensions(http, encoder):
    raw = vectors_of(http.post("/embed", json={"inputs": TEXTS, "normalize": False}))
    np.testing.assert_array_equal(raw, encoder.encode(TEXTS))
    short = vectors_of(http.post("/embed", json={"inputs": TEXTS, "dimensions": 8}))
    np.testing.assert_array_equal(short, encoder.encode(TEXTS, truncate_dim=8, normalize_embeddings=True))


def test_truncate(http, encoder):
    text = "今" * (encoder.max_seq_length + 10)
    expected = encoder.encode([text], normalize_embeddings=True)
    for truncate in (None, True):
        found = vectors_of(http.post("/embed", json={"inputs": text, "truncate": truncate}))
        np.testing.assert_array_equal(found, expected)
    error = error_of(http.post("/embed", json={"inputs": text, "truncate": False}), 413)
    assert error["error_type"] == "Validation"
    assert str(encoder.max_seq_length) in error["error"]


@pytest.mark.parametrize("direction", ["Left", "left"])
def test_truncation_at_the_left_keeps_the_end(http, encoder, direction):
    end = "很好" * 10
    kept = "天" * (encoder.max_seq_length - 2 - len(end)) + end
    expected = encoder.encode([kept], normalize_embeddings=True)
    for text in ("今" * 100 + kept, "今" * 1_000_000 + kept):
        body = {"inputs": text, "truncation_direction": direction}
        np.testing.assert_array_equal(vectors_of(http.post("/embed", json=body)), expected)
    alike = {"source_sentence": "今" * 100 + kept, "sentences": [kept]}
    body = {"inputs": alike, "parameters": {"truncation_direction": direction}}
    assert vectors_of(http.post("/similarity", json=body)) == pytest.approx(1)


@pytest.mark.parametrize("inputs", ["a", ["a"], [[101, 102]]])
def test_an_unknown_truncation_direction_is_rejected(http, inputs):
    error = error_of(http.post("/embed", json={"inputs": inputs, "truncation_direction": "Up"}), 422)
    assert "truncation_direction='Up'" in error["error"]
    assert "left" in error["error"]
    error = error_of(http.post("/embed", json={"inputs": "a" * 200_000, "truncation_direction": "Left"}), 413)
    assert "cannot be cut at the left" in error["error"]


def test_token_ids_of_the_models_own_tokenizer(http, encoder):
    ids = [encoder.tokenizer.encode(text).tolist() for text in TEXTS]
    expected = encoder.encode(TEXTS)
    found = vectors_of(http.post("/embed", json={"inputs": ids, "normalize": False}))
    np.testing.assert_array_equal(found, expected)
    found = vectors_of(http.post("/embed", json={"inputs": ids[0], "normalize": False}))
    np.testing.assert_array_equal(found, expected[:1])


def test_errors_name_fields_of_the_request(http, encoder):
    error = error_of(http.post("/embed", json={"inputs": "a", "dimensions": 100_000}), 422)
    assert "dimensions=100000" in error["error"]
    assert "truncate_dim" not in error["error"]
    long = "今" * encoder.max_seq_length
    for source, sentences, named in (("a", ["b", long], "sentences[1]"), (long, ["a"], "source_sentence")):
        inputs = {"source_sentence": source, "sentences": sentences}
        error = error_of(
            http.post("/similarity", json={"inputs": inputs, "parameters": {"truncate": False}}), 413
        )
        assert error["error"].startswith(f"{named} has ")


@pytest.mark.parametrize(
    "fields", [{"truncation": "chunk"}, {"chunking": {"tokens": 64}}, {"truncation": False}]
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed", {"inputs": "a"}),
        ("/embed_sparse", {"inputs": "a"}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
        ("/api/embed", {"input": "a"}),
    ],
)
def test_fields_that_would_divide_texts_are_refused_by_name(http, path, body, fields):
    """They are those of /v1/embeddings. Without the refusal, the texts would be cut."""
    body = {**body, "parameters": fields} if path == "/similarity" else {**body, **fields}
    answer = http.post(path, json=body)
    assert answer.status_code == (400 if path == "/api/embed" else 422)
    assert next(iter(fields)) in answer.json()["error"]
    assert "/v1/embeddings" in answer.json()["error"]


def test_prompts_of_the_bundle(start, bundle, encoder, tmp_path):
    import json
    import shutil

    import httpx

    from m3e_serve.settings import ModelSource

    prompted = shutil.copytree(bundle, tmp_path / "prompted")
    manifest = json.loads((prompted / "manifest.json").read_bytes())
    manifest["prompts"] = {"query": "question: "}
    (prompted / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    running = start(models=(ModelSource("prompted", prompted),))
    with httpx.Client(base_url=running.url) as client:
        found = vectors_of(client.post("/embed", json={"inputs": TEXTS, "prompt_name": "query"}))
        np.testing.assert_array_equal(
            found, encoder.encode(TEXTS, prompt="question: ", normalize_embeddings=True)
        )
        tokens = client.post("/tokenize", json={"inputs": "a", "prompt_name": "query"}).json()[0]
        assert len(tokens) > len(client.post("/tokenize", json={"inputs": "a"}).json()[0])
        error = error_of(client.post("/embed", json={"inputs": "a", "prompt_name": "none"}), 422)
        assert "query" in error["error"]
    running.stop()


def test_similarity_is_the_cosine(http, encoder):
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}}
    vectors = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(
        vectors_of(http.post("/similarity", json=body)), vectors @ vectors[0], atol=1e-6
    )


def test_tokens_have_their_positions(http, encoder):
    text = "今天 weather 很好!"
    (tokens,) = http.post("/tokenize", json={"inputs": text}).json()
    expected = encoder.tokenizer.tokenizer.encode(text)
    assert [token["id"] for token in tokens] == expected.ids
    assert [token["special"] for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
    for token in tokens[1:-1]:
        assert token["text"] == text[token["start"] : token["stop"]]
    bare = http.post("/tokenize", json={"inputs": [text], "add_special_tokens": False}).json()
    assert bare == [tokens[1:-1]]
    assert http.post("/tokenize", json={"inputs": [""], "add_special_tokens": False}).json() == [[]]


def test_tokens_beyond_the_models_maximum_are_included(http, encoder):
    length = 2 * encoder.max_seq_length
    (tokens,) = http.post("/tokenize", json={"inputs": "今" * length}).json()
    assert [token["special"] for token in tokens] == [True, *[False] * length, True]
    assert [token["start"] for token in tokens[1:-1]] == list(range(length))


def test_info_has_limits_and_fidelity(http, encoder):
    info = http.get("/info").json()
    assert info["model_id"] == "tiny"
    assert info["max_input_length"] == encoder.max_seq_length
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["auto_truncate"] is True
    (described,) = info["m3e"]
    assert described["fidelity"] == encoder.info["fidelity"]
    assert str(encoder.bundle.path) not in http.get("/info").text


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/embed", {"inputs": []}, 400, "Empty"),
        ("/embed", {"inputs": [1, 10**6]}, 422, "Tokenizer"),
        ("/embed", {"inputs": [[1] * 513]}, 413, "Validation"),
        ("/embed", {"inputs": [[]]}, 422, "Validation"),
        ("/embed", {"inputs": ["a", 1]}, 422, "Validation"),
        ("/embed", {"inputs": [1], "prompt_name": "query"}, 422, "Validation"),
        ("/embed", {"inputs": 5}, 422, "Validation"),
        ("/embed", {}, 422, "Validation"),
        ("/embed", {"inputs": ["a"] * 2049}, 413, "Validation"),
        ("/embed", {"inputs": "a", "dimensions": 100_000}, 422, "Validation"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 400, "Empty"),
        ("/similarity", {"inputs": {"sentences": ["a"]}}, 422, "Validation"),
        ("/tokenize", {"inputs": ["a"] * 2049}, 413, "Validation"),
        ("/tokenize", {"inputs": [[1]]}, 422, "Tokenizer"),
    ],
)
def test_errors_have_teis_format(http, path, body, status, kind):
    assert error_of(http.post(path, json=body), status)["error_type"] == kind


def test_invalid_json(http):
    assert error_of(http.post("/embed", content=b"{"), 400)["error_type"] == "Validation"
    assert error_of(http.get("/embed"), 405)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_health(http, path):
    answer = http.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert http.head(path).status_code == 200
