"""The parts of an OpenAPI description: operations, their responses, and the schemas of errors."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from m3e_serve.models.task_models import TaskModels

__all__ = [
    "OPENAI_ERRORS",
    "REFERENCE",
    "OpenAIError",
    "TeiError",
    "model_names",
    "operation",
    "optional",
    "post",
    "reference",
    "texts",
    "unguarded",
]

REFERENCE = "#/components/schemas/{name}"


class OpenAIErrorContent(msgspec.Struct):
    """The details of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct):
    """An error response."""

    error: OpenAIErrorContent


class TeiError(msgspec.Struct):
    """An error response."""

    error: str
    error_type: Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


OPENAI_ERRORS = {
    400: "The request is invalid.",
    404: "The model does not exist.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or computing it would exceed the timeout.",
    415: "The Content-Encoding is neither gzip nor deflate.",
    429: "Too many requests are waiting. Retry after the seconds in Retry-After.",
    503: "The service is shutting down, or the request exceeded the timeout.",
}
_TEI_ERRORS = {
    400: "There is no text, or the body is not valid JSON.",
    408: OPENAI_ERRORS[408],
    413: "There are too many texts, or too long texts.",
    415: OPENAI_ERRORS[415],
    422: "A field of the body is invalid.",
    424: "The engine failed, or no model for this task is served.",
    429: OPENAI_ERRORS[429],
    503: OPENAI_ERRORS[503],
}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that also allows null, the default."""
    return {"anyOf": [schema, {"type": "null"}], "default": None}


def reference(kind: type) -> dict[str, str]:
    """A reference to the schema of ``kind``."""
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def post(summary: str, request: type, response: dict[str, Any]) -> dict[str, Any]:
    """A POST operation with the errors of text-embeddings-inference."""
    return operation(summary, response, _TEI_ERRORS, TeiError, request)


def operation(
    summary: str,
    response: dict[str, Any],
    errors: dict[int, str],
    error: type,
    request: type | None = None,
) -> dict[str, Any]:
    """An operation: ``response`` with status 200, and ``errors``, texts by status, of the type ``error``."""
    errors = {**errors, 401: "The API key is missing or incorrect.", 503: OPENAI_ERRORS[503]}
    responses = {"200": {"description": "Success.", "content": _json(response)}}
    responses |= {
        str(status): {"description": text, "content": _json(reference(error))}
        for status, text in sorted(errors.items())
    }
    described: dict[str, Any] = {"summary": summary, "responses": responses}
    if request is not None:
        described["requestBody"] = {"required": True, "content": _json(reference(request))}
    return described


def unguarded(summary: str, content_type: str = "text/plain") -> dict[str, Any]:
    """An operation that needs no API key."""
    success = {"description": "Success.", "content": {content_type: {"schema": {"type": "string"}}}}
    failure = {"description": "Unavailable.", "content": _json(reference(TeiError))}
    return {"summary": summary, "security": [], "responses": {"200": success, "503": failure}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def texts(of_one: dict[str, int], of_all: dict[str, int]) -> dict[str, Any]:
    """The schema of a text or a list of texts, with further constraints of a text and of the list."""
    text = {"type": "string", **of_one}
    return {"anyOf": [text, {"type": "array", "items": text, "minItems": 1, **of_all}]}


def model_names(models: TaskModels[Any]) -> dict[str, Any]:
    """The schema of the field ``model``."""
    if models.any_name:
        return optional({"type": "string"})
    return {"enum": [*models.names, *([] if models.count > 1 else [None])]}
