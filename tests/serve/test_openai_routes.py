"""``/v1/embeddings`` and ``/v1/models`` respond in OpenAI's format, with the encoder's vectors."""

import base64
import json

import msgspec
import numpy as np
import pytest

TEXTS = ["今天天气很好", "short", "a longer English sentence about nothing", "😀🎉 mixed 文本", " "]


def embed(http, **body):
    return http.post("/v1/embeddings", json={"model": "tiny", **body})


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return np.array([each["embedding"] for each in answer.json()["data"]], dtype=np.float32)


def error_of(answer, status):
    """The error, in OpenAI's format."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


def test_a_text_and_a_list_give_the_encoders_vectors_at_unit_length_to_the_last_bit(http, encoder):
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_array_equal(vectors_of(embed(http, input=TEXTS)), expected)
    for text, vector in zip(TEXTS, expected, strict=True):
        np.testing.assert_array_equal(vectors_of(embed(http, input=text)), vector[None])
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)


def test_the_answer_has_openais_fields(http, encoder):
    content = embed(http, input=["你好", "world"]).json()
    assert list(content) == ["object", "data", "model", "usage"]
    assert content["object"] == "list"
    assert content["model"] == "tiny"
    assert [(each["object"], each["index"]) for each in content["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    tokens = sum(len(encoder.tokenizer.encode(text)) for text in ("你好", "world"))
    assert content["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_base64_holds_the_same_floats(http, encoder):
    content = embed(http, input=TEXTS, encoding_format="base64").json()
    found = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in content["data"]]
    np.testing.assert_array_equal(np.stack(found), encoder.encode(TEXTS, normalize_embeddings=True))


@pytest.mark.parametrize("count", [64, 65, 200])
def test_many_vectors_are_complete_and_in_order(http, encoder, count):
    texts = [f"text number {number}" for number in range(count)]
    answer = embed(http, input=texts)
    assert [each["index"] for each in answer.json()["data"]] == list(range(count))
    np.testing.assert_array_equal(vectors_of(answer), encoder.encode(texts, normalize_embeddings=True))


def test_dimensions_truncate_and_normalize(http, encoder):
    expected = encoder.encode(TEXTS, truncate_dim=16, normalize_embeddings=True)
    np.testing.assert_array_equal(vectors_of(embed(http, input=TEXTS, dimensions=16)), expected)


def test_nulls_and_unknown_fields_are_ignored(http, encoder):
    answer = embed(http, input="a", encoding_format=None, dimensions=None, user="me", type="db", extra=[1])
    np.testing.assert_array_equal(vectors_of(answer), encoder.encode(["a"], normalize_embeddings=True))


def test_an_alias_is_the_model(http, encoder):
    answer = embed(http, model="text-embedding-ada-002", input="a")
    np.testing.assert_array_equal(vectors_of(answer), encoder.encode(["a"], normalize_embeddings=True))


def test_models_are_listed_by_name_and_alias(http):
    content = http.get("/v1/models").json()
    assert content["object"] == "list"
    assert [each["id"] for each in content["data"]] == ["tiny", "text-embedding-ada-002"]
    for each in content["data"]:
        assert set(each) == {"id", "object", "created", "owned_by", "task"}
        assert each["object"] == "model"
        assert http.get(f"/v1/models/{each['id']}").json() == each


def test_an_unknown_model_is_404(http):
    for answer in (embed(http, model="gpt-4", input="a"), http.get("/v1/models/moka-ai/m3e-base")):
        error = error_of(answer, 404)
        assert error["code"] == "model_not_found"
        assert error["type"] == "invalid_request_error"
        assert "tiny" in error["message"]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"input": []}, "input", "empty"),
        ({"input": ""}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty"),
        ({"input": None}, "input", "null"),
        ({"input": {"text": "a"}}, "input", "object"),
        ({"input": [1.5]}, "input", "float"),
        ({"input": ["a", ""]}, "input", "input[1]"),
        ({"input": ["a", None]}, "input", "input[1]"),
        ({"input": ["a", 5]}, "input", "mixes"),
        ({"input": ["a", "b", [5]]}, "input", "input[2]"),
        ({"input": "a", "encoding_format": "md5"}, "encoding_format", "md5"),
        ({"input": "a", "dimensions": 0}, "dimensions", "1"),
        ({"input": "a", "dimensions": 10_000}, "dimensions", "10000"),
        ({"input": "a", "dimensions": "16"}, "dimensions", "int"),
        ({"input": "a", "model": 5}, "model", "str"),
        ({"input": "a", "prompt_name": "query"}, "prompt_name", "it has: none"),
        ({"input": "a", "input_type": "query"}, "input_type", "it has: none"),
        ({"input": "a", "input_type": "query", "task": "a"}, "input_type", "input_type and task"),
        ({"input": "a", "normalize": False}, "normalize", "true"),
        ({"input": "a", "late_chunking": 0}, "late_chunking", "false"),
        ({"input": "a", "embedding_types": ["int8"]}, "embedding_types", '["float"]'),
        ({"input": "a", "truncate": "START"}, "truncate", "bool"),
        ({"input": "a", "instruction": "b"}, "instruction", "leave it out"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({}, None, "input"),
    ],
)
def test_errors_name_the_field_and_the_reason(http, body, param, says):
    error = error_of(embed(http, **body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


FAULTY_BODIES = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"{", "character 1"),
    (b"{'%s': 'a'}", "double quotes"),
    (b"[]", "object"),
    (b"null", "null"),
    (b"[" * 100_000, "array"),
    (b'{"%s": "a", "x": ' + b"[" * 100_000, "nested"),
    (b'{"%s": ["a", "b\xff"]}', "%s[1] is not UTF-8: byte 0xff at character 1"),
    (b'{"%s": ["a", "b", "c\\ud800"]}', "%s[2] has a lone surrogate, \\ud800 at character 1"),
    (b'{"%s": ["a", "\\udc80"]}', "%s[1] has a lone surrogate, \\udc80 at character 0"),
    (b'{"%s": "\\ude00\\ud83d"}', "%s has a lone surrogate, \\ude00"),
    (b'{"%s": ["a", NaN]}', "%s[1] is NaN"),
    (b'{"other": {"x": [0, -Infinity]}, "%s": "a"}', "other.x[1] is -Infinity"),
    ('{"%s": "a"}'.encode("utf-16"), "UTF-8"),
]


@pytest.mark.parametrize(("body", "says"), FAULTY_BODIES)
@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/embeddings", "input"), ("/embed", "inputs"), ("/tokenize", "inputs"), ("/api/embed", "input")],
)
def test_errors_name_the_faulty_value_of_a_body(http, path, field, body, says):
    answer = http.post(path, content=body.replace(b"%s", field.encode()))
    assert answer.status_code in (400, 422)
    content = answer.json()["error"]
    message = content["message"] if path == "/v1/embeddings" else content
    assert says.replace("%s", field) in message
    if "[" in says and path == "/v1/embeddings":
        assert content["param"] == says.replace("%s", field).split("[")[0].split(".")[0]


def test_unusual_but_valid_json_is_accepted(http, encoder):
    bodies = [
        b'\xef\xbb\xbf {"model": "tiny", "input": "\xf0\x9f\x98\x80"}',
        b'{"model": "tiny", "input": "\\ud83d\\ude00"}\n\n',
        b'\t{"input": ["\\uD83D\\uDE00"], "input": "\\ud83d\\ude00"}',
    ]
    for body in bodies:
        found = vectors_of(http.post("/v1/embeddings", content=body))
        np.testing.assert_array_equal(found, encoder.encode(["😀"], normalize_embeddings=True))


@pytest.mark.parametrize("ids", [[9906, 1917], [[9906], [1917, 0]]])
def test_token_ids_of_another_tokenizer_are_rejected_with_a_remedy(http, ids):
    error = error_of(embed(http, input=ids), 400)
    assert error["code"] == "token_ids_not_supported"
    assert error["param"] == "input"
    assert "check_embedding_ctx_length=False" in error["message"]
    assert '"tokenizer": "tiny"' in error["message"]
    assert error_of(embed(http, input=ids, tokenizer="cl100k_base"), 400)["code"] == "token_ids_not_supported"


def test_token_ids_of_the_models_own_tokenizer_give_the_texts_vectors(http, encoder):
    tokens = http.post("/tokenize", json={"inputs": TEXTS}).json()
    ids = [[token["id"] for token in each] for each in tokens]
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_array_equal(vectors_of(embed(http, input=ids, tokenizer="tiny")), expected)
    np.testing.assert_array_equal(vectors_of(embed(http, input=ids[0], tokenizer="tiny")), expected[:1])


@pytest.mark.parametrize("ids", [[], [-1], [10**6], [10**30], [101] * 513])
def test_unknown_token_ids_are_rejected(http, ids):
    error_of(embed(http, input=[ids], tokenizer="tiny"), 400)


@pytest.mark.parametrize(("length", "dimensions"), [(1536, None), (1536, 1536), (800, 800), (16, 16)])
def test_padding_with_zeros(start, encoder, length, dimensions):
    import httpx

    padded = start(pad_to=1536)
    body = {"model": "tiny", "input": TEXTS, "dimensions": dimensions}
    found = vectors_of(httpx.post(f"{padded.url}/v1/embeddings", json=body))
    padded.stop()
    expected = encoder.encode(TEXTS, normalize_embeddings=True, truncate_dim=16 if length == 16 else None)
    assert found.shape == (len(TEXTS), length)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert not found[:, expected.shape[1] :].any()
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-6)


def test_long_texts_are_truncated_or_rejected_by_option(http, start, encoder):
    import httpx

    strict = start(truncate=False)
    text = "今" * (encoder.max_seq_length + 10)
    answer = embed(http, input=text)
    np.testing.assert_array_equal(vectors_of(answer), encoder.encode([text], normalize_embeddings=True))
    assert answer.json()["usage"]["prompt_tokens"] == encoder.max_seq_length
    refused = httpx.post(f"{strict.url}/v1/embeddings", json={"model": "tiny", "input": ["a", text]})
    strict.stop()
    error = error_of(refused, 400)
    assert error["code"] == "context_length_exceeded"
    assert f"text 1 has {encoder.max_seq_length + 12} tokens" in error["message"]


def test_a_request_selects_one_of_several_bundles(start, bundle, encoder):
    import httpx

    from m3e_serve.settings import ModelSource

    both = start(models=(ModelSource("one", bundle), ModelSource("org/two", bundle)))
    with httpx.Client(base_url=both.url) as client:
        for name in ("one", "org/two"):
            answer = client.post("/v1/embeddings", json={"model": name, "input": "a"})
            assert answer.json()["model"] == name
            assert client.get(f"/v1/models/{name}").json()["id"] == name
        assert [each["name"] for each in client.get("/info").json()["m3e"]] == ["one", "org/two"]
    both.stop()


@pytest.mark.parametrize(
    "path",
    [
        *("/embeddings", "/embeddings/", "//v1//embeddings", "/v1/embeddings/", "/v1/v1/embeddings"),
        *("/openai/v1/embeddings", "/openai/deployments/tiny/embeddings?api-version=2024-10-21"),
    ],
)
def test_paths_as_clients_write_them(http, running, encoder, path):
    import httpx

    answer = httpx.post(running.url + path, json={"model": "tiny", "input": "a"})
    np.testing.assert_array_equal(vectors_of(answer), encoder.encode(["a"], normalize_embeddings=True))


def test_paths_of_models_are_normalized(http):
    assert http.get("/models").json() == http.get("/v1/v1/models/").json() == http.get("/v1/models").json()
    assert http.get("/models/tiny").json()["id"] == "tiny"
    for path in ("/v1", "/v1/v1", "/openai", "/v1/embed", "/modelsx"):
        assert error_of(http.get(path), 404)


def test_the_model_is_optional_if_there_is_only_one(http, start, bundle):
    import httpx

    from m3e_serve.settings import ModelSource

    assert http.post("/v1/embeddings", json={"input": "a"}).json()["model"] == "tiny"
    assert http.post("/v1/embeddings", json={"input": "a", "model": None}).json()["model"] == "tiny"
    both = start(models=(ModelSource("one", bundle), ModelSource("two", bundle)))
    error = error_of(httpx.post(f"{both.url}/v1/embeddings", json={"input": "a"}), 400)
    both.stop()
    assert error["param"] == "model"
    assert "one, two" in error["message"]


def test_the_default_dimension_of_a_bundle_can_be_overridden(start, bundle, encoder, tmp_path):
    import shutil

    import httpx

    from m3e_runtime import outputs
    from m3e_runtime.bundle import Bundle
    from m3e_runtime.manifest import GoldenVectors
    from m3e_serve.settings import ModelSource

    manifest = Bundle.open(bundle).manifest
    golden = manifest.golden
    short = GoldenVectors.pack(golden.texts, golden.unpack(manifest.dimension)[:, :24])
    folder = shutil.copytree(bundle, tmp_path / "short")
    changed = msgspec.structs.replace(manifest, truncate_dim=24, golden=short)
    (folder / "manifest.json").write_bytes(changed.to_json())
    running = start(models=(ModelSource("short", folder),))
    full = encoder.encode(TEXTS[0])
    for asked, kept in (
        ({}, 24),
        ({"dimensions": 8}, 8),
        ({"dimensions": encoder.dimension}, encoder.dimension),
    ):
        answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": TEXTS[0], **asked}).json()
        expected = outputs.normalize(full[None, :kept])[0]
        np.testing.assert_allclose(answer["data"][0]["embedding"], expected, atol=1e-5)
    assert len(httpx.post(f"{running.url}/embed", json={"inputs": TEXTS[0]}).json()[0]) == 24
    running.stop()


def test_any_model_accepts_any_name(start, bundle):
    import httpx

    from m3e_runtime import OptionError
    from m3e_serve.app import load_service
    from m3e_serve.settings import ModelSource, ServeSettings

    anything = start(any_model=True)
    answer = httpx.post(f"{anything.url}/v1/embeddings", json={"input": "a", "model": "text-embedding-9"})
    listed = httpx.get(f"{anything.url}/v1/models").json()["data"]
    anything.stop()
    assert answer.json()["model"] == "tiny"
    assert [each["id"] for each in listed] == ["tiny"]
    two = ServeSettings(models=(ModelSource("one", bundle), ModelSource("two", bundle)), any_model=True)
    with pytest.raises(OptionError, match="--any-model"):
        load_service(two)


@pytest.fixture(scope="module")
def with_prompts(start, bundle, tmp_path_factory):
    """Two models: one with prompts for queries and passages, one with a prompt for queries only."""
    import shutil

    import httpx

    from m3e_serve.settings import ModelSource

    folder = tmp_path_factory.mktemp("prompts")
    sources = []
    for name, prompts in {
        "both": {"query": "question: ", "passage": "text: ", "clustering": "topic: "},
        "one": {"query": "question: "},
    }.items():
        copy = shutil.copytree(bundle, folder / name)
        manifest = json.loads((copy / "manifest.json").read_bytes())
        manifest |= {"prompts": prompts, "default_prompt_name": "query"}
        (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        sources.append(ModelSource(name, copy))
    running = start(models=tuple(sources))
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client
    running.stop()


@pytest.mark.parametrize(
    ("model", "asked", "prompt"),
    [
        ("both", {}, "question: "),
        ("both", {"prompt_name": "passage"}, "text: "),
        ("both", {"input_type": "query"}, "question: "),
        ("both", {"input_type": "search_query"}, "question: "),
        ("both", {"input_type": "document"}, "text: "),
        ("both", {"input_type": "search_document"}, "text: "),
        ("both", {"input_type": "clustering"}, "topic: "),
        ("both", {"task": "retrieval.passage"}, "text: "),
        ("both", {"task": "retrieval.query", "normalized": True, "truncate": True}, "question: "),
        ("one", {"input_type": "document"}, ""),
    ],
)
def test_prompts_are_selected_by_name_or_type(with_prompts, encoder, model, asked, prompt):
    found = vectors_of(with_prompts.post("/v1/embeddings", json={"model": model, "input": TEXTS, **asked}))
    np.testing.assert_array_equal(found, encoder.encode(TEXTS, prompt=prompt, normalize_embeddings=True))


@pytest.mark.parametrize("asked", [{"prompt_name": "document"}, {"input_type": "image"}, {"task": "x"}])
def test_unknown_prompts_are_rejected_with_the_known_ones(with_prompts, asked):
    answer = with_prompts.post("/v1/embeddings", json={"model": "both", "input": "a", **asked})
    error = error_of(answer, 400)
    assert error["param"] == next(iter(asked))
    assert "clustering, passage, query" in error["message"]


def test_unknown_paths_and_methods_are_json_too(http):
    assert error_of(http.get("/v1/chat/completions"), 404)["code"] == "not_found"
    assert error_of(http.get("/v1/embeddings"), 405)["code"] == "method_not_allowed"


def test_pipelined_and_slow_requests(running):
    """Clients that send byte by byte, and clients that send several requests at once."""
    import socket

    body = json.dumps({"model": "tiny", "input": "a", "dimensions": 2}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        for byte in head + body:
            connection.sendall(bytes([byte]))
        connection.sendall((head + body) * 2)
        received = b""
        while received.count(b'"usage"') < 3:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 3
