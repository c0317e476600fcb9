"""A client learns what was cut: from a header, the metrics and the log. And it can ask for chunks instead."""

import base64

import numpy as np
import pytest

from m3e_runtime import ChunkOptions

httpx = pytest.importorskip("httpx")

LONG = "今天天气很好。我们去公园散步吧！\r\n👩‍👩‍👧‍👦 It costs 3.14 dollars. " * 30


def embed(http, **body):
    return http.post("/v1/embeddings", json={"model": "tiny", **body})


def cut_so_far(http):
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("m3e_truncated_texts_total{"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "tiny", "input": ["短", LONG, LONG]}),
        ("/embed", {"inputs": ["短", LONG, LONG]}),
        ("/embed", {"inputs": ["短", LONG, LONG], "truncation_direction": "Left"}),
        ("/api/embed", {"model": "tiny", "input": ["短", LONG, LONG]}),
        ("/similarity", {"inputs": {"source_sentence": "短", "sentences": [LONG, LONG]}}),
    ],
)
def test_every_route_says_how_many_texts_were_cut(http, path, body):
    before = cut_so_far(http)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert answer.headers["m3e-truncated"] == "2"
    assert cut_so_far(http) == before + 2


def test_without_cut_texts_there_is_no_header(http, encoder):
    assert "m3e-truncated" not in embed(http, input=["短", "短"]).headers
    room = encoder.max_seq_length - encoder.tokenizer.special_tokens
    assert "m3e-truncated" not in embed(http, input="字" * room).headers
    assert embed(http, input="字" * (room + 1)).headers["m3e-truncated"] == "1"


def test_info_counts_cut_texts(http):
    before = http.get("/info").json()["m3e"][0]["truncated"]
    embed(http, input=["短", LONG])
    assert http.get("/info").json()["m3e"][0]["truncated"] == before + 1


def test_truncation_says_what_happens_to_long_texts(http):
    cut = embed(http, input=LONG, truncation="cut")
    assert cut.json()["data"] == embed(http, input=LONG, truncation=True).json()["data"]
    for strict in ("error", False):
        error = embed(http, input=["短", LONG], truncation=strict)
        assert error.status_code == 400
        assert error.json()["error"]["code"] == "context_length_exceeded"
        assert error.json()["error"]["message"].startswith("text 1 has ")


@pytest.mark.parametrize(
    "chunking",
    [None, {"tokens": 64}, {"tokens": 64, "overlap": 12}, {"tokens": 64, "late": True}, {"late": True}],
)
def test_chunks_have_the_encoders_vectors_and_their_places(http, encoder, chunking):
    texts = [LONG * 3, "短", LONG[:400]]
    asked = {} if chunking is None else {"chunking": chunking}
    content = embed(http, input=texts, truncation="chunk", dimensions=16, **asked).json()
    expected = encoder.encode_chunks(
        texts, normalize_embeddings=True, truncate_dim=16, chunking=ChunkOptions(**(chunking or {}))
    )
    rows = [
        (index, number, start, end)
        for index, each in enumerate(expected)
        for number, (start, end) in enumerate(zip(each.start.tolist(), each.end.tolist(), strict=True))
    ]
    assert len(rows) > 3
    assert [
        tuple(row[name] for name in ("index", "chunk", "start", "end")) for row in content["data"]
    ] == rows
    found = np.array([row["embedding"] for row in content["data"]], np.float32)
    np.testing.assert_array_equal(found, np.concatenate([each.vectors for each in expected]))
    tokens = sum(len(encoder.tokenizer.encode(texts[row[0]][row[2] : row[3]])) for row in rows)
    if chunking is None or not chunking.get("late"):
        assert content["usage"]["prompt_tokens"] == tokens
    else:  # what is read at once has its special tokens once, and chunks that are context again
        assert content["usage"]["prompt_tokens"] != tokens


def test_openais_client_passes_the_fields_and_reads_the_places(http):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
    extra = {"truncation": "chunk", "chunking": {"tokens": 64}}
    found = client.embeddings.create(model="tiny", input=[LONG], extra_body=extra).data
    plain = embed(http, input=[LONG], encoding_format="base64", **extra).json()["data"]
    assert [(each.index, each.chunk, each.start, each.end) for each in found] == [
        (row["index"], row["chunk"], row["start"], row["end"]) for row in plain
    ]
    first = np.frombuffer(base64.b64decode(plain[0]["embedding"]), "<f4")
    np.testing.assert_allclose(found[0].embedding, first)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"chunking": {"tokens": 64}}, "chunking", 'is for "truncation": "chunk"'),
        ({"truncation": "chunk", "chunking": {"size": 3}}, "chunking", "size"),
        ({"truncation": "chunk", "chunking": {"tokens": 99999}}, None, "tokens=99999 is not between"),
        ({"truncation": "chunk", "chunking": {"tokens": 64, "overlap": 40}}, None, "at most half"),
        ({"truncation": "chunk", "truncate": True}, "truncate", "no meaning"),
        ({"truncation": "chunk", "input": [[1, 2]], "tokenizer": "tiny"}, "truncation", "not of token ids"),
        ({"truncation": "chop"}, "truncation", "chop"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(http, body, field, message):
    error = embed(http, **{"input": LONG, **body})
    assert error.status_code == 400
    assert message in error.json()["error"]["message"]
    assert error.json()["error"]["param"] == field


def test_late_chunking_needs_a_model_that_pools_by_mean(start, cls_bundle):
    from m3e_serve.settings import ModelSource

    running = start(models=(ModelSource("tiny", cls_bundle),))
    with httpx.Client(base_url=running.url) as http:
        error = embed(http, input=LONG, truncation="chunk", chunking={"late": True})
        assert len(embed(http, input=LONG, truncation="chunk").json()["data"]) > 1
    running.stop()
    assert error.status_code == 400
    assert "needs mean pooling, and this model pools by cls" in error.json()["error"]["message"]


def test_more_chunks_than_texts_are_allowed_are_refused(start):
    small = start(max_texts=8)
    with httpx.Client(base_url=small.url) as http:
        assert len(embed(http, input=LONG, truncation="chunk").json()["data"]) <= 8
        error = embed(http, input=["短", LONG * 200], truncation="chunk", chunking={"tokens": 32})
    small.stop()
    assert error.status_code == 413
    assert "up to text 1 have more than 8 chunks of 32 tokens" in error.json()["error"]["message"]
