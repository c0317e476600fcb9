"""``/v1/rerank`` and ``/v2/rerank``, as the clients of Jina and Cohere call them."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import check_count, first_given
from m3e_serve.interfaces.ranking import descending
from m3e_serve.models.served_reranker import Scored, ServedReranker
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, json_response
from m3e_serve.service import Service

__all__ = ["REFUSED", "Document", "Rerank", "RerankRequest", "rerank_style"]


REFUSED = {
    "instruction": "the model takes none; leave it out",
    "image": "documents are texts",
    "top_k": "its name here is `top_n`",
}
"""Fields of other services that would change the result, and why they are refused."""

_RefusedFields = msgspec.defstruct("_RefusedFields", [(name, Any, None) for name in REFUSED], kw_only=True)


class Document(msgspec.Struct):
    """A document. Other fields than ``text`` are ignored."""

    text: str


class RerankRequest(_RefusedFields, kw_only=True):  # type: ignore[misc, valid-type, call-arg]
    """The body of a request.

    Unknown fields are ignored, because clients send many of them. Fields that would change the result but are
    not supported are rejected.

    Attributes:
        query: what the documents are compared with.
        documents: texts, or objects with ``text``.
        model: a name in ``/v1/models``. Optional if only one reranker is served.
        top_n: return only this many documents.
        return_documents: return the texts, too. ``/v1/rerank`` does so by default, as Jina's service.
        rank_fields: fields of the documents that are compared: only ``text``.
        max_tokens_per_doc: must not be less than what the model takes of a document.
        max_chunks_per_doc: any number, because each document is one chunk.
        truncate: truncate long documents, or reject them. The default is an option of the service.
        truncation: the same, as Jina's and Voyage's clients send it.
    """

    query: str
    documents: list[str | Document]
    model: str | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None
    max_tokens_per_doc: Annotated[int, Meta(ge=1)] | None = None
    max_chunks_per_doc: Annotated[int, Meta(ge=1)] | None = None
    truncate: bool | None = None
    truncation: bool | None = None


_decoder = BodyDecoder(RerankRequest)


def rerank_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """The formats of Cohere, ``{"message"}``, and of Jina, ``{"detail"}``, in one object."""
    return error.status, {"message": error.message, "detail": error.message}


class Rerank:
    """``POST /v1/rerank`` and ``POST /v2/rerank``.

    Args:
        service: the state that all routes share.
        version: of Cohere's interface.
    """

    def __init__(self, service: Service, version: int) -> None:
        self._service = service
        self._version = version

    async def __call__(self, call: Call) -> Response:
        """The documents in descending order of relevance: the sigmoid of the logit, which is in [0, 1]."""
        request, settings = _decoder.decode(call.body), self._service.settings
        check_count(len(request.documents), "documents", settings.max_pairs)
        model = self._service.models.rerankers.choose(request.model)
        _check(request, model)
        call.model = model.name
        texts = [each if isinstance(each, str) else each.text for each in request.documents]
        scored = await model.score(
            [(request.query, text) for text in texts],
            "documents",
            call.priority(len(texts), "query"),
            truncate=first_given(request.truncate, request.truncation, settings.truncate),
        )
        call.tokens, call.truncated = scored.tokens, scored.cut
        scores = model.scores(scored.logits)[:, 0]
        results: list[dict[str, Any]] = [
            {"index": at, "relevance_score": scores[at]} for at in descending(scores, request.top_n)
        ]
        if first_given(request.return_documents, self._version == 1):
            for result in results:
                result["document"] = {"text": texts[result["index"]]}
        return json_response(self._described(model.name, results, scored))

    def _described(self, model: str, results: list[dict[str, Any]], scored: Scored) -> dict[str, Any]:
        """The fields of Cohere's and of Jina's responses."""
        meta: dict[str, Any] = {
            "api_version": {"version": str(self._version)},
            "tokens": {"input_tokens": scored.tokens},
        }
        if scored.cut:
            meta["warnings"] = [f"{scored.cut} of {len(scored.logits)} documents were truncated."]
        return {
            "id": str(uuid.uuid4()),
            "object": "list",
            "model": model,
            "results": results,
            "usage": {"prompt_tokens": scored.tokens, "total_tokens": scored.tokens},
            "meta": meta,
        }


def _check(request: RerankRequest, model: ServedReranker) -> None:
    """Reject fields that would change the result.

    Raises:
        ApiError: 400, a field is not supported, or the query is empty.
    """
    if not request.query:
        raise _invalid("query", "it is empty")
    for name, reason in REFUSED.items():
        if getattr(request, name) is not None:
            raise _invalid(name, reason)
    if request.rank_fields not in (None, ["text"]):
        raise _invalid("rank_fields", 'only ["text"] is supported; join the fields in `text`')
    if request.max_tokens_per_doc is not None and request.max_tokens_per_doc < model.max_length:
        reason = f"documents are truncated where a pair has {model.max_length} tokens; leave it out"
        raise _invalid("max_tokens_per_doc", reason)


def _invalid(field: str, reason: str) -> ApiError:
    return ApiError(400, f"`{field}`: {reason}.", "invalid_value", field)
