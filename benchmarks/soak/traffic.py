"""What is sent: requests whose answers are known, requests that must be refused, and some between them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from benchmarks.serve.client import NO_ANSWER, NO_CONNECTION, post

__all__ = [
    "PASSAGES",
    "QUERIES",
    "Borderline",
    "LongText",
    "Nonsense",
    "Question",
    "Ranking",
    "Traffic",
    "judge",
]

QUERIES, PASSAGES = 20, 60
"""Texts of the pool that are queries, and passages."""

_PART_OF_RANKINGS = 0.15  # of the good requests
_PART_OF_LONG = 0.02  # of the others; each costs as much as twenty usual texts

_PART_OF_NONSENSE = 0.05
_PART_OF_BORDERLINE = 0.005
_PART_OF_HUGE = 0.1  # of those; each costs as much as thousands of usual texts
_PART_WITH_OFFER = 0.1
_PART_OF_LAST = 0.05
_OFFERS = ("h2c", "websocket", "TLS/1.0")
_SIZES, _SHARES = (1, 1, 1, 4, 16), (0.5, 0.1, 0.1, 0.2, 0.1)
_OVERLOADED = (429, 503)


@dataclass(frozen=True)
class Question:
    """A request that has an answer: texts of the pool, by their positions, over one of the interfaces.

    ``last`` says that the client ends the sending side of its connection, and waits for the answer. ``right``
    is what is said of the right answer.
    """

    data: bytes
    positions: Sequence[int]
    decode: Callable[[bytes], np.ndarray]
    last: bool = False
    right: str = "answered, bit for bit"


@dataclass(frozen=True)
class LongText:
    """A text that is asked for in chunks, how it is divided, and the positions of the chunks' vectors."""

    text: str
    chunking: dict[str, Any]
    positions: Sequence[int]


@dataclass(frozen=True)
class Ranking:
    """A request that has scores: a query and passages of the pool, by their positions.

    ``decode`` gives a score for each passage, float32 ``[n]``, in the order of the request.
    """

    data: bytes
    query: int
    positions: Sequence[int]
    decode: Callable[[bytes], np.ndarray]
    last: bool = False


@dataclass(frozen=True)
class Borderline:
    """A request that may be answered, or refused with one of ``statuses`` and a reason."""

    kind: str
    data: bytes
    decode: Callable[[bytes], np.ndarray]
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Nonsense:
    """Bytes that the service must refuse; ``statuses`` are what may come, none where it may just close."""

    kind: str
    data: bytes
    statuses: tuple[int, ...]


class Traffic:
    """An endless mixture of them.

    Args:
        model: name under which the service knows its embedding model.
        texts: the pool.
        reranker: name of its reranker; None: it has none.
        long_texts: texts to be asked for in chunks.
    """

    def __init__(
        self,
        model: str,
        texts: Sequence[str],
        reranker: str | None = None,
        long_texts: Sequence[LongText] = (),
    ) -> None:
        self._model = model
        self._texts = texts
        self._reranker = reranker
        self._long_texts = long_texts
        self._random = np.random.default_rng(1)

    @property
    def texts_per_request(self) -> float:
        """On average."""
        usual = float(np.dot(_SIZES, _SHARES))
        if self._long_texts:
            chunks = float(np.mean([len(each.positions) for each in self._long_texts]))
            usual += _PART_OF_LONG * (1 - _PART_OF_RANKINGS) * (chunks - usual)
        return (1 - _PART_OF_NONSENSE - _PART_OF_BORDERLINE) * usual

    def next(self) -> Question | Ranking | Nonsense | Borderline:
        """The next request."""
        drawn = self._random.random()
        if drawn < _PART_OF_NONSENSE:
            return self._nonsense()
        if drawn < _PART_OF_NONSENSE + _PART_OF_BORDERLINE:
            return self._borderline()
        if self._reranker is not None and self._random.random() < _PART_OF_RANKINGS:
            return self._ranking(self._reranker)
        if self._long_texts and self._random.random() < _PART_OF_LONG:
            return self._chunks()
        return self._question()

    def _question(self) -> Question:
        size = int(self._random.choice(_SIZES, p=_SHARES))
        positions = self._random.integers(0, len(self._texts), size).tolist()
        texts = [self._texts[position] for position in positions]
        kind = self._random.integers(0, 3)
        headers, last = self._offer(), bool(self._random.random() < _PART_OF_LAST)
        if kind == 0:
            return Question(post("/embed", _json({"inputs": texts}), headers), positions, _of_tei, last)
        content = {"model": self._model, "input": texts if size > 1 else texts[0]}
        if kind == 1:
            content["encoding_format"] = "base64"
        data = post("/v1/embeddings", _json(content), headers)
        return Question(data, positions, _of_base64 if kind == 1 else _of_floats, last)

    def _chunks(self) -> Question:
        asked = self._long_texts[int(self._random.integers(0, len(self._long_texts)))]
        content = {
            "model": self._model,
            "input": asked.text,
            "encoding_format": "base64",
            "truncation": "chunk",
            "chunking": asked.chunking,
        }
        data = post("/v1/embeddings", _json(content), self._offer())
        return Question(data, asked.positions, _of_base64, right="divided, bit for bit")

    def _ranking(self, reranker: str) -> Ranking:
        size = int(self._random.choice(_SIZES, p=_SHARES))
        query = int(self._random.integers(0, QUERIES))
        positions = self._random.integers(0, PASSAGES, size).tolist()
        asked, texts = self._texts[query], [self._texts[position] for position in positions]
        headers, last = self._offer(), bool(self._random.random() < _PART_OF_LAST)
        if self._random.integers(0, 2):
            data = post("/rerank", _json({"query": asked, "texts": texts}), headers)
            return Ranking(data, query, positions, _of_ranks, last)
        content = {"model": reranker, "query": asked, "documents": texts}
        data = post(f"/v{self._random.integers(1, 3)}/rerank", _json(content), headers)
        return Ranking(data, query, positions, _of_results, last)

    def _offer(self) -> Sequence[str]:
        """Headers of clients that would rather speak another protocol, and take this one."""
        if self._random.random() >= _PART_WITH_OFFER:
            return ()
        offer = _OFFERS[int(self._random.integers(0, len(_OFFERS)))]
        return (
            "connection: Upgrade, HTTP2-Settings",
            f"upgrade: {offer}",
            "http2-settings: AAEAAEAAAAIAAAAB",
        )

    def _borderline(self) -> Borderline:
        made = _huge if self._random.random() < _PART_OF_HUGE else _stripped
        return made(self._random, self._model)

    def _nonsense(self) -> Nonsense:
        known = _NONSENSE if self._reranker is None else [*_NONSENSE, *_NONSENSE_OF_RANKINGS]
        made = known[int(self._random.integers(0, len(known)))]
        return made(self._random, self._model)


def judge(
    sent: Question | Ranking | Nonsense | Borderline,
    status: int,
    body: bytes,
    vectors: np.ndarray,
    scores: np.ndarray | None = None,
) -> str:
    """What became of a request, in words; those that begin with ``WRONG`` must not happen.

    ``vectors`` are those of the pool and of the chunks of long texts, float32 ``[n, d]``. ``scores`` are
    those of the pool's first texts as queries and as passages, float32 ``[QUERIES, PASSAGES]``.
    """
    if status == NO_CONNECTION:
        return "no connection"
    if status in _OVERLOADED:
        return f"refused, {status}" if _is_refusal(body) else f"WRONG: {status} without a reason"
    if isinstance(sent, Borderline):
        return _judge_borderline(sent, status, body, vectors.shape[1])
    if isinstance(sent, Nonsense):
        if status == NO_ANSWER and not sent.statuses:
            return "nonsense, closed"
        if status in (sent.statuses or range(400, 500)) and _is_refusal(body):
            return "nonsense, refused"
        return f"WRONG: {sent.kind} gave {status}"
    if isinstance(sent, Ranking):
        assert scores is not None  # there are rankings only where there is a reranker
        return _judge_question(sent, status, body, scores[sent.query], "scored, bit for bit")
    return _judge_question(sent, status, body, vectors, sent.right)


def _judge_question(sent: Question | Ranking, status: int, body: bytes, known: np.ndarray, right: str) -> str:
    if status == NO_ANSWER:
        return f"WRONG: no answer ({body.decode()})"
    if status != 200:
        return f"WRONG: a good request gave {status}"
    try:
        found = sent.decode(body)
    except (ValueError, KeyError, TypeError):
        return "WRONG: unreadable answer"
    expected = known[list(sent.positions)]
    if found.shape != expected.shape or found.tobytes() != expected.tobytes():
        return "WRONG: other vectors" if isinstance(sent, Question) else "WRONG: other scores"
    return right


def _judge_borderline(sent: Borderline, status: int, body: bytes, dimension: int) -> str:
    if status in sent.statuses and _is_refusal(body):
        return "borderline, refused"
    if status != 200:
        return f"WRONG: {sent.kind} gave {status}"
    try:
        found = sent.decode(body)
    except (ValueError, KeyError, TypeError):
        return f"WRONG: {sent.kind} gave an unreadable answer"
    if found.shape != (1, dimension) or not np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3):
        return f"WRONG: {sent.kind} gave no vector"
    return "borderline, answered"


def _is_refusal(body: bytes) -> bool:
    """Whether this is an error in the shape of OpenAI's, TEI's or Cohere's interface."""
    try:
        content = orjson.loads(body)
        error = content["message"] if "message" in content else content["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
    return bool(error["message"] if isinstance(error, dict) else error)


def _of_tei(body: bytes) -> np.ndarray:
    return np.array(orjson.loads(body), dtype=np.float32)


def _of_floats(body: bytes) -> np.ndarray:
    return np.array([each["embedding"] for each in orjson.loads(body)["data"]], dtype=np.float32)


def _of_base64(body: bytes) -> np.ndarray:
    rows = [base64.b64decode(each["embedding"]) for each in orjson.loads(body)["data"]]
    return np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), -1)


def _of_ranks(body: bytes) -> np.ndarray:
    return _in_order((rank["index"], rank["score"]) for rank in orjson.loads(body))


def _of_results(body: bytes) -> np.ndarray:
    return _in_order((each["index"], each["relevance_score"]) for each in orjson.loads(body)["results"])


def _in_order(ranks: Iterable[tuple[int, float]]) -> np.ndarray:
    """The scores by index, after checking that they fall."""
    ranks = list(ranks)
    found = [score for _, score in ranks]
    if found != sorted(found, reverse=True):
        raise ValueError("the scores do not fall")
    return np.array([score for _, score in sorted(ranks)], dtype=np.float32)


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


# --- borderline


def _huge(random: np.random.Generator, model: str) -> Borderline:
    """One text of 2 to 8 MB: of words, of Chinese without a space, of one word, or of blanks."""
    piece = ("a longer text about nothing ", "如何更换花呗绑定银行卡", "a", " ")[int(random.integers(0, 4))]
    size = int(random.integers(2 << 20, 8 << 20))
    text = piece * (size // len(piece.encode()))
    return Borderline("a huge text", post("/embed", _json({"inputs": text})), _of_tei, (400, 413, 422))


def _stripped(random: np.random.Generator, model: str) -> Borderline:
    """Paths as proxies make them that strip too much, or too little."""
    paths = ("/embeddings", "/v1/v1/embeddings", "/m3e/v1/embeddings", "//v1/embeddings", "/v1/embeddings/")
    data = post(paths[int(random.integers(0, len(paths)))], _json({"model": model, "input": "a"}))
    return Borderline("a stripped path", data, _of_floats, (404,))


# --- nonsense


def _cut_json(random: np.random.Generator, model: str) -> Nonsense:
    whole = _json({"model": model, "input": "如何更换花呗绑定银行卡"})
    return Nonsense("cut JSON", post("/v1/embeddings", whole[: random.integers(0, len(whole))]), (400,))


def _random_bytes(random: np.random.Generator, model: str) -> Nonsense:
    return Nonsense("random bytes as a body", post("/embed", b"\xff" + random.bytes(200)), (400,))


def _not_http(random: np.random.Generator, model: str) -> Nonsense:
    return Nonsense("no HTTP", random.bytes(int(random.integers(1, 500))) + b"\r\n\r\n\r\n", ())


def _other_types(random: np.random.Generator, model: str) -> Nonsense:
    wrong = [None, 3, {}, [[]], [None], [["a"]], ["a", 1], True, [{"text": "a"}]]
    content = {"model": model, "input": wrong[int(random.integers(0, len(wrong)))]}
    return Nonsense("wrong types", post("/v1/embeddings", _json(content)), (400,))


def _foreign_tokens(random: np.random.Generator, model: str) -> Nonsense:
    content = {"model": model, "input": random.integers(0, 100_000, 20).tolist()}
    return Nonsense("token ids", post("/v1/embeddings", _json(content)), (400,))


def _empty(random: np.random.Generator, model: str) -> Nonsense:
    content = {"model": model, "input": [[], "", ["a", ""]][int(random.integers(0, 3))]}
    return Nonsense("an empty input", post("/v1/embeddings", _json(content)), (400,))


def _surrogate(random: np.random.Generator, model: str) -> Nonsense:
    body = b'{"inputs": "\\ud800"}'
    return Nonsense("half a character", post("/embed", body), (400, 422))


def _unknown_model(random: np.random.Generator, model: str) -> Nonsense:
    body = _json({"model": "gpt-4", "input": "a"})
    return Nonsense("an unknown model", post("/v1/embeddings", body), (404,))


def _dimensions(random: np.random.Generator, model: str) -> Nonsense:
    content = {"model": model, "input": "a", "dimensions": [-1, 0, 1e99, 10**30][int(random.integers(0, 4))]}
    return Nonsense("impossible dimensions", post("/v1/embeddings", _json(content)), (400,))


def _deep(random: np.random.Generator, model: str) -> Nonsense:
    body = b'{"inputs":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    return Nonsense("deep nesting", post("/embed", body), (400, 422))


def _many(random: np.random.Generator, model: str) -> Nonsense:
    body = _json({"model": model, "input": ["a"] * 3000})
    return Nonsense("too many texts", post("/v1/embeddings", body), (400,))


def _large(random: np.random.Generator, model: str) -> Nonsense:
    head = post("/embed", b"").replace(b"content-length: 0", b"content-length: 999999999999")
    return Nonsense("too large a body", head + b"[", (413,))


def _compressed(random: np.random.Generator, model: str) -> Nonsense:
    kind, status = (("gzip", 400), ("br", 415))[int(random.integers(2))]  # broken, and not understood
    return Nonsense(
        "a compressed body", post("/embed", b"\x1f\x8b", [f"content-encoding: {kind}"]), (status,)
    )


def _no_route(random: np.random.Generator, model: str) -> Nonsense:
    return Nonsense("no such path", post("/v1/chat/completions", b"{}"), (404,))


def _no_method(random: np.random.Generator, model: str) -> Nonsense:
    return Nonsense("no such method", post("/embed", b"{}").replace(b"POST", b"DELETE", 1), (405,))


def _long_headers(random: np.random.Generator, model: str) -> Nonsense:
    return Nonsense("long headers", b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 200_000, ())


def _two_framings(random: np.random.Generator, model: str) -> Nonsense:
    offer = ["connection: Upgrade", "upgrade: h2c", "transfer-encoding: chunked"]
    return Nonsense("an offer and two framings", post("/embed", b'{"inputs": "a"}', offer), (400,))


def _two_lengths(random: np.random.Generator, model: str) -> Nonsense:
    data = post("/embed", b'{"inputs": "a"}', ["content-length: 3"])
    return Nonsense("two lengths", data, (400,))


def _ranking(random: np.random.Generator, model: str) -> Nonsense:
    """Of another task's model, without documents, with too many, or with something else than texts."""
    wrong: list[dict[str, Any]] = [
        {"model": model, "documents": ["a"]},
        {"documents": []},
        {"documents": ["a"] * 1500},
        {"documents": [None]},
        {"documents": [{"image": "a"}]},
        {"documents": ["a"], "query": ""},
        {"documents": ["a"], "rank_fields": ["title"]},
    ]
    content = {"query": "a", **wrong[int(random.integers(0, len(wrong)))]}
    return Nonsense("a wrong ranking", post("/v2/rerank", _json(content)), (400,))


def _prediction(random: np.random.Generator, model: str) -> Nonsense:
    wrong = [[], ["a", "b", "c"], [["a"], []], [["a", 1]], {}]
    content = {"inputs": wrong[int(random.integers(0, len(wrong)))]}
    return Nonsense("a wrong prediction", post("/predict", _json(content)), (400, 422))


_NONSENSE_OF_RANKINGS: list[Callable[[np.random.Generator, str], Nonsense]] = [_ranking, _prediction]

_NONSENSE: list[Callable[[np.random.Generator, str], Nonsense]] = [
    _cut_json,
    _random_bytes,
    _not_http,
    _other_types,
    _foreign_tokens,
    _empty,
    _surrogate,
    _unknown_model,
    _dimensions,
    _deep,
    _many,
    _large,
    _compressed,
    _no_route,
    _no_method,
    _long_headers,
    _two_framings,
    _two_lengths,
]
