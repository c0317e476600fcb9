"""``/rerank`` and ``/predict`` of Hugging Face's text-embeddings-inference (TEI).

They use the first reranker, and the first reranker or classifier.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import check_count
from m3e_serve.interfaces.ranking import descending
from m3e_serve.interfaces.tei import keeps_end
from m3e_serve.models.served_reranker import Scored
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, json_response
from m3e_serve.service import Service

__all__ = ["Predict", "PredictInputs", "PredictRequest", "TeiRerank", "TeiRerankRequest"]

PredictInputs = str | list[str | list[str]]
"""A text, a pair of texts, or a list of both: ``[["text"], ["first", "second"], …]``."""


class TeiRerankRequest(msgspec.Struct):
    """The body of ``/rerank``."""

    query: str
    texts: list[str]
    truncate: bool | None = None
    truncation_direction: str = "Right"
    raw_scores: bool = False
    return_text: bool = False


class PredictRequest(msgspec.Struct):
    """The body of ``/predict``."""

    inputs: PredictInputs
    truncate: bool | None = None
    truncation_direction: str = "Right"
    raw_scores: bool = False


_rerank_decoder = BodyDecoder(TeiRerankRequest)
_predict_decoder = BodyDecoder(PredictRequest)


class TeiRerank:
    """``POST /rerank``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """The texts in descending order of their scores: logits, or their sigmoid without ``raw_scores``."""
        start = time.perf_counter()
        request, settings = _read_rerank(call.body), self._service.settings
        query, texts = request.query, request.texts
        check_count(len(texts), "texts", settings.max_pairs)
        keep_end = keeps_end(request.truncation_direction)
        model = self._service.models.rerankers.default
        call.model = model.name
        scored = await model.score(
            [(query, text) for text in texts],
            "texts",
            call.priority(len(texts), "query"),
            truncate=settings.truncate if request.truncate is None else request.truncate,
            keep_end=keep_end,
        )
        call.tokens, call.truncated = scored.tokens, scored.cut
        scores = model.scores(scored.logits, request.raw_scores)[:, 0]
        ranks: list[dict[str, Any]] = [{"index": at, "score": scores[at]} for at in descending(scores)]
        if request.return_text:
            for rank in ranks:
                rank["text"] = texts[rank["index"]]
        characters = len(query) * len(texts) + sum(map(len, texts))
        return _response(ranks, scored, model.device, start, characters)


def _read_rerank(body: bytes) -> TeiRerankRequest:
    """The body of ``/rerank``. Other servers have Jina's format on this path; an error names its path here.

    Raises:
        ApiError: as :meth:`BodyDecoder.decode`, and 422, there are no ``texts``.
    """
    try:
        return _rerank_decoder.decode(body)
    except msgspec.ValidationError as error:
        if "missing required field `texts`" not in str(error):
            raise
    message = "`texts` is missing. Requests with `documents`, as Jina and Cohere have them, go to /v1/rerank."
    raise ApiError(400, message, "invalid_value", "texts", tei_status=422)


class Predict:
    """``POST /predict``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """The labels of each input, in descending order of their scores.

        The scores are logits, or without ``raw_scores`` their softmax; for a single label, their sigmoid.
        """
        start = time.perf_counter()
        request, settings = _predict_decoder.decode(call.body), self._service.settings
        inputs, is_batch = _read_inputs(request.inputs)
        check_count(len(inputs), "inputs", settings.max_pairs)
        keep_end = keeps_end(request.truncation_direction)
        model = self._service.models.classifiers.default
        call.model = model.name
        scored = await model.score(
            inputs,
            "inputs",
            call.priority(len(inputs)),
            truncate=settings.truncate if request.truncate is None else request.truncate,
            keep_end=keep_end,
        )
        call.tokens, call.truncated = scored.tokens, scored.cut
        predictions = [
            [{"score": row[at], "label": model.labels[at]} for at in descending(row)]
            for row in model.scores(scored.logits, request.raw_scores)
        ]
        characters = sum(len(text) for each in inputs for text in each)
        content = predictions if is_batch else predictions[0]
        return _response(content, scored, model.device, start, characters)


def _read_inputs(given: PredictInputs) -> tuple[list[tuple[str, ...]], bool]:
    """Texts and pairs, and whether they are a batch.

    Raises:
        ApiError: 422, neither a text, nor a pair, nor a list of both.
    """
    if isinstance(given, str):
        return [(given,)], False
    texts = [each for each in given if isinstance(each, str)]
    if texts and len(texts) == len(given):
        return [_text_or_pair(texts, "inputs")], False
    inputs = []
    for index, each in enumerate(given):
        if isinstance(each, str):
            raise _not_understood(f"inputs[{index}] is a text, but others are lists")
        inputs.append(_text_or_pair(each, f"inputs[{index}]"))
    return inputs, True


def _text_or_pair(texts: list[str], where: str) -> tuple[str, ...]:
    if len(texts) not in (1, 2):
        raise _not_understood(f"{where} has {len(texts)} texts")
    return tuple(texts)


def _not_understood(fault: str) -> ApiError:
    cure = 'send a text, a pair ["first", "second"], or a batch [["text"], ["first", "second"], …]'
    return ApiError(422, f"{fault}; {cure}.", "invalid_value", "inputs")


def _response(content: Any, scored: Scored, device: str, start: float, characters: int) -> Response:
    """A response with TEI's headers. Times are in milliseconds."""
    response = json_response(content)
    total = _milliseconds(time.perf_counter() - start)
    response.headers = [
        (b"x-compute-type", b"cpu" if device == "cpu" else b"gpu"),
        (b"x-compute-time", total),
        (b"x-compute-characters", b"%d" % characters),
        (b"x-compute-tokens", b"%d" % scored.tokens),
        (b"x-total-time", total),
        (b"x-tokenization-time", _milliseconds(scored.tokenize_seconds)),
        (b"x-queue-time", _milliseconds(scored.queue_seconds)),
        (b"x-inference-time", _milliseconds(scored.compute_seconds)),
    ]
    return response


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % round(1000 * seconds)
