"""The OpenAPI description at ``/openapi.json``. Schemas are generated from the types that decode requests."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

import m3e_runtime
from m3e_serve.interfaces.ollama import OllamaEmbedRequest, OllamaPromptRequest
from m3e_serve.interfaces.openai import FIXED, EmbeddingRequest
from m3e_serve.interfaces.prompts import prompt_names
from m3e_serve.interfaces.tei import (
    Direction,
    EmbedRequest,
    SimilarityInput,
    SimilarityParameters,
    SimilarityRequest,
    TokenizeRequest,
)
from m3e_serve.interfaces.tei_sparse import EmbedSparseRequest, SparseValue
from m3e_serve.service import Service

__all__ = ["describe"]

_REFERENCE = "#/components/schemas/{name}"


class Usage(msgspec.Struct):
    """Tokens of the model's tokenizer, with special tokens."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct):
    """A vector of unit length: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingResponse(msgspec.Struct):
    """The vectors in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(msgspec.Struct):
    """A model name for requests."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelListResponse(msgspec.Struct):
    """All model names."""

    object: Literal["list"]
    data: list[Model]


class Token(msgspec.Struct):
    """A token, and its position in the text, in characters."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


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


class OllamaEmbedResponse(msgspec.Struct):
    """The vectors in the order of the texts. Durations are in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaPromptResponse(msgspec.Struct):
    """One vector."""

    embedding: list[float]


class OllamaError(msgspec.Struct):
    """An error response."""

    error: str


_BODIES = (
    *(OllamaEmbedRequest, OllamaEmbedResponse, OllamaPromptRequest, OllamaPromptResponse, OllamaError),
    *(EmbeddingRequest, EmbeddingResponse, ModelListResponse, Model, OpenAIError),
    *(EmbedSparseRequest, SparseValue),
    *(EmbedRequest, SimilarityRequest, TokenizeRequest, TeiError, Token),
)
_VECTORS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_OPENAI_ERRORS = {
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
    408: _OPENAI_ERRORS[408],
    413: "There are too many texts, or too long texts.",
    415: _OPENAI_ERRORS[415],
    422: "A field of the body is invalid.",
    424: "The engine failed.",
    429: _OPENAI_ERRORS[429],
    503: _OPENAI_ERRORS[503],
}


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def describe(service: Service) -> dict[str, Any]:
    """The OpenAPI 3.1 description, with the model names and limits of ``service``."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template=_REFERENCE)
    _narrow(schemas, service)
    embed = _post("Vectors of texts.", EmbedRequest, _VECTORS)
    scores = {"type": "array", "items": {"type": "number"}}
    sparse = {"type": "array", "items": {"type": "array", "items": _reference(SparseValue)}}
    tokens = {"type": "array", "items": {"type": "array", "items": _reference(Token)}}
    embeddings = _operation(
        "Vectors of texts, in OpenAI's format.",
        _reference(EmbeddingResponse),
        _OPENAI_ERRORS,
        OpenAIError,
        EmbeddingRequest,
    )
    paths = {
        "/v1/embeddings": {"post": embeddings},
        "/openai/deployments/{id}/embeddings": {"post": {**embeddings, "parameters": [_ID]}},
        **_ollama_paths(),
        "/v1/models": {"get": _operation("All models.", _reference(ModelListResponse), {}, OpenAIError)},
        "/v1/models/{id}": {
            "get": {
                **_operation("One model.", _reference(Model), {404: _OPENAI_ERRORS[404]}, OpenAIError),
                "parameters": [_ID],
            }
        },
        "/embed": {"post": embed},
        "/embed_sparse": {"post": _post("Sparse vectors of texts.", EmbedSparseRequest, sparse)},
        "/similarity": {"post": _post("Cosines of a text with others.", SimilarityRequest, scores)},
        "/tokenize": {"post": _post("Tokens of texts.", TokenizeRequest, tokens)},
        "/info": {"get": _operation("The models and limits.", {"type": "object"}, {}, TeiError)},
        "/health": {"get": _unguarded("Whether the service is ready for requests.")},
        "/readyz": {"get": _unguarded("The same as /health.")},
        "/livez": {"get": _unguarded("Whether the engines run.")},
        "/metrics": {"get": _unguarded("Metrics for Prometheus.")},
        "/": {"get": _unguarded("A page for people.", "text/html"), "post": embed},
    }
    components: dict[str, Any] = {"schemas": schemas}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "m3e-serve", "version": m3e_runtime.__version__},
        "servers": [{"url": "."}],  # relative to this description, whatever path a proxy maps it to
        "paths": paths,
        "components": components,
    }
    if service.settings.key_digests:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
        }
        described["security"] = [{"key": []}, {"azure": []}]
    return described


def _ollama_paths() -> dict[str, Any]:
    def post(summary: str, request: type, response: type) -> dict[str, Any]:
        return {"post": _operation(summary, _reference(response), _OPENAI_ERRORS, OllamaError, request)}

    return {
        "/api/embed": post("Vectors of texts, in Ollama's format.", OllamaEmbedRequest, OllamaEmbedResponse),
        "/api/embeddings": post("One vector, in Ollama's format.", OllamaPromptRequest, OllamaPromptResponse),
        "/api/tags": {"get": _operation("All models.", {"type": "object"}, {}, OllamaError)},
        "/api/version": {"get": _operation("The version.", {"type": "object"}, {}, OllamaError)},
    }


def _narrow(schemas: dict[str, Any], service: Service) -> None:
    """Add constraints that the types do not have, because they depend on the service."""
    properties = {name: schema.get("properties", {}) for name, schema in schemas.items()}
    _narrow_openai(properties[EmbeddingRequest.__name__], service)
    _narrow_ollama(properties[OllamaEmbedRequest.__name__], service)
    for kind in (OllamaEmbedRequest, OllamaPromptRequest):
        properties[kind.__name__]["model"] = _model(service)
    embed, tokenize = properties[EmbedRequest.__name__], properties[TokenizeRequest.__name__]
    default = service.models.default
    embed["inputs"] = _inputs({}, {}, default.vocabulary, default.encoder.max_seq_length)
    sparse = properties[EmbedSparseRequest.__name__]
    sparse["inputs"] = tokenize["inputs"] = _texts(
        {}, {}
    )  # no maxItems: too many texts are rejected with 413
    embed["dimensions"] = _optional(
        {"type": "integer", "minimum": 1, "maximum": default.encoder.full_dimension}
    )
    properties[SimilarityInput.__name__]["sentences"]["minItems"] = 1
    parameters = properties[SimilarityParameters.__name__]
    for each in (embed, sparse, tokenize, parameters):
        each["prompt_name"] = {"enum": [None, *prompt_names(default)]}
    for each in (embed, sparse, parameters):
        each["truncation_direction"] = {"enum": list(get_args(Direction)), "default": "Right"}


def _narrow_openai(properties: dict[str, Any], service: Service) -> None:
    settings = service.settings
    longest = max(model.encoder.full_dimension for model in service.models.all)
    # Token ids are not described, because most clients would send those of another tokenizer.
    properties["input"] = _texts({"minLength": 1}, {"maxItems": settings.max_texts})
    properties["model"] = _model(service)
    properties["dimensions"] = _optional(
        {"type": "integer", "minimum": 1, "maximum": settings.pad_to or longest}
    )
    for name, allowed in FIXED.items():
        properties[name] = {"enum": [None, *allowed], "default": None}


def _narrow_ollama(properties: dict[str, Any], service: Service) -> None:
    longest = max(model.encoder.full_dimension for model in service.models.all)
    properties["dimensions"] = _optional({"type": "integer", "minimum": 1, "maximum": longest})
    text = {"type": "string"}
    several = {"type": "array", "items": text, "maxItems": service.settings.max_texts}
    properties["input"] = {"anyOf": [text, several], "default": ""}


def _model(service: Service) -> dict[str, Any]:
    if service.settings.any_model:
        return _optional({"type": "string"})
    return {"enum": [*service.models.names, *([] if service.models.several else [None])]}


def _inputs(of_one: dict[str, int], of_all: dict[str, int], vocabulary: int, longest: int) -> dict[str, Any]:
    """The schema of texts or token ids."""
    token_id = {"type": "integer", "minimum": 0, "maximum": vocabulary - 1}
    ids = {"type": "array", "items": token_id, "minItems": 1, "maxItems": longest}
    several = {"type": "array", "items": ids, "minItems": 1}
    return {"anyOf": [*_texts(of_one, of_all)["anyOf"], ids, several]}


def _texts(of_one: dict[str, int], of_all: dict[str, int]) -> dict[str, Any]:
    text = {"type": "string", **of_one}
    return {"anyOf": [text, {"type": "array", "items": text, "minItems": 1, **of_all}]}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "default": None}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _post(summary: str, request: type, response: dict[str, Any]) -> dict[str, Any]:
    return _operation(summary, response, _TEI_ERRORS, TeiError, request)


def _operation(
    summary: str,
    response: dict[str, Any],
    errors: dict[int, str],
    error: type,
    request: type | None = None,
) -> dict[str, Any]:
    errors = {**errors, 401: "The API key is missing or incorrect.", 503: _OPENAI_ERRORS[503]}
    responses = {"200": {"description": "Success.", "content": _json(response)}}
    responses |= {
        str(status): {"description": text, "content": _json(_reference(error))}
        for status, text in sorted(errors.items())
    }
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if request is not None:
        operation["requestBody"] = {"required": True, "content": _json(_reference(request))}
    return operation


def _unguarded(summary: str, content_type: str = "text/plain") -> dict[str, Any]:
    """An operation that needs no API key."""
    success = {"description": "Success.", "content": {content_type: {"schema": {"type": "string"}}}}
    failure = {"description": "Unavailable.", "content": _json(_reference(TeiError))}
    return {"summary": summary, "security": [], "responses": {"200": success, "503": failure}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
