"""The benchmark of the service and its soak, rehearsed on a tiny model."""

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(module, *options):
    command = [sys.executable, "-m", module, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def results_of(folder):
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_benchmark_measures_the_service_and_names_who_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("INFINITY_EMB", raising=False)
    done = run(
        "benchmarks.serve", "--quick", "--shapes", "rehearsal", "--peers", "infinity", "--output", tmp_path
    )
    assert done.returncode == 0, done.stderr
    (shape,) = results_of(tmp_path)["runs"]
    assert "INFINITY_EMB" in shape["not_measured"]["infinity"]
    assert shape["cosine"]["m3e-serve"] == pytest.approx(1)
    assert shape["one_client"]["m3e-serve"]["p50_s"] > shape["one_client"]["encode"]["p50_s"] > 0
    for found in shape["saturation"].values():
        assert found["m3e-serve"]["tokens_per_second"] > 0
        assert found["m3e-serve"]["not_answered"] == {}
    rates = [point["rate"] for point in shape["load"]["m3e-serve"]]
    assert rates == sorted(rates)
    assert all(point["p99_s"] >= point["p50_s"] > 0 for point in shape["load"]["m3e-serve"])
    assert (tmp_path / f"{next(tmp_path.glob('*.json')).stem}.png").stat().st_size > 1000
    assert "INFINITY_EMB" in next(tmp_path.glob("*.md")).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_benchmark_of_reranking_compares_the_service_with_the_bare_call(tmp_path):
    options = ["--quick", "--shapes", "rehearsal", "--passages", 20, "--output", tmp_path]
    done = run("benchmarks.serve.rerank", *options)
    assert done.returncode == 0, done.stderr
    (shape,) = results_of(tmp_path)["runs"]
    for name in ("/rerank", "/v1/rerank"):
        assert shape[name]["median_s"] > 0.5 * shape["predict"]["median_s"] > 0


@pytest.mark.slow
def test_the_benchmark_of_rerankers_names_who_is_missing(tmp_path):
    contestants = ["ours-reranker-int8", "cross-encoder-torch", "cross-encoder-openvino"]
    options = ["--quick", "--shapes", "rehearsal", "--passages", 20, "--contestants", *contestants]
    done = run("benchmarks.rerank", *options, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    (shape,) = results_of(tmp_path)["runs"]
    assert shape["found"]["ours-reranker-int8"]["largest_difference"] < 0.1
    assert shape["found"]["cross-encoder-torch"]["largest_difference"] == 0
    assert "cross-encoder-torch" in next(tmp_path.glob("*.md")).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_short_soak_finds_nothing_wrong(tmp_path):
    options = [
        "--minutes",
        0.1,
        "--overload",
        0.3,
        "--shape",
        "rehearsal",
    ]  # HTTP itself is slower than this model
    done = run("benchmarks.soak", *options, "--output", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = results_of(tmp_path)
    assert not results["wrong"]
    assert results["outcomes"]["answered, bit for bit"] > 100
    assert results["outcomes"]["scored, bit for bit"] > 10
    assert results["outcomes"]["divided, bit for bit"] > 0
    assert results["outcomes"]["nonsense, refused"] > 10
    assert results["ending"]["exit_code"] == 0
    assert results["ending"]["not_logs"] == []


@pytest.fixture
def traffic(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.soak import traffic

    return traffic


def answer_to(question, vectors):
    """In the shape of the interface that the question is for."""
    rows = vectors[list(question.positions)]
    if question.data.startswith(b"POST /embed"):
        return orjson.dumps(rows.tolist())
    if b'"base64"' in question.data:
        data = [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in rows]
    else:
        data = [{"embedding": row.tolist()} for row in rows]
    return orjson.dumps({"data": data})


def test_the_soak_sees_a_wrong_bit(traffic):
    vectors = np.random.default_rng(0).standard_normal((50, 8), dtype=np.float32)
    made = traffic.Traffic("model", [f"text {number}" for number in range(50)])
    questions = [sent for sent in (made.next() for _ in range(300)) if isinstance(sent, traffic.Question)]
    for question in questions:
        assert traffic.judge(question, 200, answer_to(question, vectors), vectors) == "answered, bit for bit"
        other = vectors.copy()
        other[question.positions[-1], -1] = np.nextafter(other[question.positions[-1], -1], np.float32(9))
        assert traffic.judge(question, 200, answer_to(question, other), vectors).startswith("WRONG")


def ranks_of(sent, scores):
    """In the shape of the interface that the ranking is for."""
    found = [(at, scores[sent.query, position].item()) for at, position in enumerate(sent.positions)]
    found.sort(key=lambda each: -each[1])
    if sent.data.startswith(b"POST /rerank"):
        return [{"index": at, "score": score} for at, score in found]
    return {"results": [{"index": at, "relevance_score": score} for at, score in found]}


def test_the_soak_sees_a_wrong_score_and_a_wrong_order(traffic):
    scores = np.random.default_rng(0).random((traffic.QUERIES, traffic.PASSAGES), dtype=np.float32)
    made = traffic.Traffic("model", [f"text {number}" for number in range(60)], "reranker")
    sent = [each for each in (made.next() for _ in range(1000)) if isinstance(each, traffic.Ranking)]
    assert len(sent) > 50
    vectors = np.zeros((1, 1), np.float32)
    for ranking in sent:
        right, other = ranks_of(ranking, scores), scores.copy()
        other[:, ranking.positions[0]] = np.nextafter(other[:, ranking.positions[0]], np.float32(2))
        judged = [
            traffic.judge(ranking, 200, orjson.dumps(each), vectors, scores)
            for each in (right, ranks_of(ranking, other), [], {"results": []})
        ]
        assert judged[0] == "scored, bit for bit"
        assert all(each.startswith("WRONG") for each in judged[1:])
        if len(set(ranking.positions)) > 1:
            ranks = right if isinstance(right, list) else right["results"]
            ranks.reverse()
            assert traffic.judge(ranking, 200, orjson.dumps(right), vectors, scores).startswith("WRONG")
    refusal = b'{"message": "busy", "detail": "busy"}'
    assert traffic.judge(sent[0], 429, refusal, vectors, scores) == "refused, 429"


def test_the_soak_offers_upgrades_ends_its_side_and_asks_for_what_may_be_refused(traffic):
    made = traffic.Traffic("model", ["a"] * 50)
    sent = [made.next() for _ in range(20_000)]
    questions = [each for each in sent if isinstance(each, traffic.Question)]
    assert any(b"upgrade: h2c" in each.data for each in questions)
    assert any(each.last for each in questions)
    borderline = [each for each in sent if isinstance(each, traffic.Borderline)]
    assert {each.kind for each in borderline} == {"a huge text", "a stripped path"}
    vectors = np.eye(2, 8, dtype=np.float32)
    refusal = b'{"error": {"message": "no"}}'
    for each in borderline:
        assert traffic.judge(each, each.statuses[0], refusal, vectors) == "borderline, refused"
        answer = [[1.0] + 7 * [0.0]]
        answer = answer if each.kind == "a huge text" else {"data": [{"embedding": answer[0]}]}
        assert traffic.judge(each, 200, orjson.dumps(answer), vectors) == "borderline, answered"
        for status, body in [(200, b"[]"), (200, b"[[1]]"), (500, refusal), (404, b""), (0, b"")]:
            assert traffic.judge(each, status, body, vectors).startswith("WRONG")


def test_the_soak_wants_a_reason_for_each_refusal(traffic):
    vectors = np.zeros((1, 1), np.float32)
    question = traffic.Question(b"", [0], traffic._of_floats)
    refusal = b'{"error": {"message": "busy"}}'
    assert traffic.judge(question, 429, refusal, vectors) == "refused, 429"
    for status, body in [
        (429, b""),
        (503, b"<html>"),
        (500, refusal),
        (400, refusal),
        (0, b""),
        (200, b"{}"),
    ]:
        assert traffic.judge(question, status, body, vectors).startswith("WRONG")
    nonsense = traffic.Nonsense("token ids", b"", (400,))
    assert traffic.judge(nonsense, 400, refusal, vectors) == "nonsense, refused"
    for status, body in [(200, b"[]"), (400, b""), (500, refusal), (0, b"")]:
        assert traffic.judge(nonsense, status, body, vectors).startswith("WRONG")
    assert traffic.judge(traffic.Nonsense("no HTTP", b"", ()), 0, b"", vectors) == "nonsense, closed"


def test_a_request_without_an_answer_has_a_reason(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.serve import client

    monkeypatch.setattr(client, "_PATIENCE", 0.05)

    async def ask_a_silent_server():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            asking = client.Client(*server.sockets[0].getsockname())
            return await asking.ask(b"GET / HTTP/1.1\r\n\r\n")

    status, reason = asyncio.run(ask_a_silent_server())
    assert (status, reason) == (client.NO_ANSWER, b"timed out, request 1 of its connection")
