"""The OpenAPI description of the routes of rerankers and classifiers."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from m3e_serve.interfaces.openapi_operations import (
    OPENAI_ERRORS,
    model_names,
    operation,
    post,
    reference,
)
from m3e_serve.interfaces.rerank import REFUSED, RerankRequest
from m3e_serve.interfaces.tei import Direction
from m3e_serve.interfaces.tei_scores import PredictRequest, TeiRerankRequest
from m3e_serve.service import Service

__all__ = ["SCORE_BODIES", "narrow_scores", "score_paths"]


class Rank(msgspec.Struct):
    """A text's index in the request, and its score."""

    index: int
    score: float
    text: str | msgspec.UnsetType = msgspec.UNSET


class Prediction(msgspec.Struct):
    """A label's score."""

    score: float
    label: str


class ReturnedDocument(msgspec.Struct):
    """A document of the request."""

    text: str


class RerankResult(msgspec.Struct):
    """A document's index in the request, and its relevance from 0 to 1."""

    index: int
    relevance_score: float
    document: ReturnedDocument | msgspec.UnsetType = msgspec.UNSET


class RerankUsage(msgspec.Struct):
    """Tokens of all pairs of the query and a document, with special tokens."""

    prompt_tokens: int
    total_tokens: int


class RerankResponse(msgspec.Struct):
    """The documents in descending order of relevance. ``meta`` is Cohere's, ``usage`` is Jina's."""

    id: str
    object: Literal["list"]
    model: str
    results: list[RerankResult]
    usage: RerankUsage
    meta: dict[str, Any]


class RerankError(msgspec.Struct):
    """An error response: Cohere's field, and Jina's."""

    message: str
    detail: str


SCORE_BODIES = (
    *(TeiRerankRequest, Rank, PredictRequest, Prediction),
    *(RerankRequest, RerankResponse, RerankError),
)


def score_paths() -> dict[str, Any]:
    """The paths of these routes."""
    ranks = {"type": "array", "items": reference(Rank)}
    predictions = {"type": "array", "items": reference(Prediction)}
    several = {"anyOf": [predictions, {"type": "array", "items": predictions}]}
    rerank = operation(
        "Documents in descending order of their relevance to a query.",
        reference(RerankResponse),
        OPENAI_ERRORS,
        RerankError,
        RerankRequest,
    )
    return {
        "/v1/rerank": {"post": rerank},
        "/v2/rerank": {"post": rerank},
        "/rerank": {"post": post("Texts in descending order of their scores.", TeiRerankRequest, ranks)},
        "/predict": {"post": post("Scores of the model's labels.", PredictRequest, several)},
    }


def narrow_scores(properties: dict[str, dict[str, Any]], service: Service) -> None:
    """Add constraints that the types do not have, because they depend on the service."""
    rerank, predict = properties[TeiRerankRequest.__name__], properties[PredictRequest.__name__]
    rerank["texts"]["minItems"] = 1  # no maxItems: too many texts are rejected with 413
    for each in (rerank, predict):
        each["truncation_direction"] = {"enum": list(get_args(Direction)), "default": "Right"}
    text = {"type": "string"}
    text_or_pair = {"type": "array", "items": text, "minItems": 1, "maxItems": 2}
    batch = {"type": "array", "items": text_or_pair, "minItems": 1}
    predict["inputs"] = {"anyOf": [text, text_or_pair, batch]}
    _narrow_rerank(properties[RerankRequest.__name__], service)


def _narrow_rerank(properties: dict[str, Any], service: Service) -> None:
    rerankers = service.models.rerankers
    properties["query"]["minLength"] = 1
    properties["documents"] |= {"minItems": 1, "maxItems": service.settings.max_pairs}
    properties["model"] = model_names(rerankers)
    properties["rank_fields"] = {"enum": [None, ["text"]], "default": None}
    if rerankers.count:
        least = max(model.max_length for model in rerankers.names.values())
        tokens = {"type": "integer", "minimum": least}
        properties["max_tokens_per_doc"] = {"anyOf": [tokens, {"type": "null"}], "default": None}
    for name in REFUSED:
        properties[name] = {"enum": [None], "default": None}
