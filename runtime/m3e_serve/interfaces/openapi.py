"""The OpenAPI description at ``/openapi.json``. Schemas are generated from the types that decode requests."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

import m3e_runtime
from m3e_serve.interfaces.inputs import CHUNK_FIELDS
from m3e_serve.interfaces.ollama import OllamaEmbedRequest, OllamaPromptRequest
from m3e_serve.interfaces.openai import FIXED, EmbeddingRequest
from m3e_serve.interfaces.openapi_operations import (
    OPENAI_ERRORS,
    REFERENCE,
    OpenAIError,
    TeiError,
    model_names,
    operation,
    optional,
    post,
    reference,
    texts,
    unguarded,
)
from m3e_serve.interfaces.openapi_scores import SCORE_BODIES, narrow_scores, score_paths
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
from m3e_serve.models.served_model import ServedModel
from m3e_serve.service import Service
from m3e_serve.tasks import Task

__all__ = ["describe"]


class Usage(msgspec.Struct):
    """Tokens of the model's tokenizer, with special tokens."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct):
    """A vector of unit length: numbers, or base64 of little-endian float32.

    ``index`` is the number of the text. If texts are divided into chunks, a text has several vectors:
    ``chunk`` is the number of the chunk, and ``start`` and ``end`` are its place in the text, in characters.
    """

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    chunk: int | msgspec.UnsetType = msgspec.UNSET
    start: int | msgspec.UnsetType = msgspec.UNSET
    end: int | msgspec.UnsetType = msgspec.UNSET


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
    task: Task


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
    *SCORE_BODIES,
)
_VECTORS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def describe(service: Service) -> dict[str, Any]:
    """The OpenAPI 3.1 description, with the model names and limits of ``service``."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template=REFERENCE)
    _narrow(schemas, service)
    scored = score_paths()
    embed = post("Vectors of texts.", EmbedRequest, _VECTORS)
    scores = {"type": "array", "items": {"type": "number"}}
    sparse = {"type": "array", "items": {"type": "array", "items": reference(SparseValue)}}
    tokens = {"type": "array", "items": {"type": "array", "items": reference(Token)}}
    embeddings = operation(
        "Vectors of texts, in OpenAI's format.",
        reference(EmbeddingResponse),
        OPENAI_ERRORS,
        OpenAIError,
        EmbeddingRequest,
    )
    by_task = {"embed": embed, "rerank": scored["/rerank"]["post"], "classify": scored["/predict"]["post"]}
    root = by_task[service.models.all[0].task]
    paths = {
        "/v1/embeddings": {"post": embeddings},
        "/openai/deployments/{id}/embeddings": {"post": {**embeddings, "parameters": [_ID]}},
        **_ollama_paths(),
        "/v1/models": {"get": operation("All models.", reference(ModelListResponse), {}, OpenAIError)},
        "/v1/models/{id}": {
            "get": {
                **operation("One model.", reference(Model), {404: OPENAI_ERRORS[404]}, OpenAIError),
                "parameters": [_ID],
            }
        },
        "/embed": {"post": embed},
        "/embed_sparse": {"post": post("Sparse vectors of texts.", EmbedSparseRequest, sparse)},
        **scored,
        "/similarity": {"post": post("Cosines of a text with others.", SimilarityRequest, scores)},
        "/tokenize": {"post": post("Tokens of texts.", TokenizeRequest, tokens)},
        "/info": {"get": operation("The models and limits.", {"type": "object"}, {}, TeiError)},
        "/health": {"get": unguarded("Whether the service is ready for requests.")},
        "/readyz": {"get": unguarded("The same as /health.")},
        "/livez": {"get": unguarded("Whether the engines run.")},
        "/metrics": {"get": unguarded("Metrics for Prometheus.")},
        "/": {"get": unguarded("A page for people.", "text/html"), "post": root},
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
        return {"post": operation(summary, reference(response), OPENAI_ERRORS, OllamaError, request)}

    return {
        "/api/embed": post("Vectors of texts, in Ollama's format.", OllamaEmbedRequest, OllamaEmbedResponse),
        "/api/embeddings": post("One vector, in Ollama's format.", OllamaPromptRequest, OllamaPromptResponse),
        "/api/tags": {"get": operation("All models.", {"type": "object"}, {}, OllamaError)},
        "/api/version": {"get": operation("The version.", {"type": "object"}, {}, OllamaError)},
    }


def _narrow(schemas: dict[str, Any], service: Service) -> None:
    """Add constraints that the types do not have, because they depend on the service."""
    properties = {name: schema.get("properties", {}) for name, schema in schemas.items()}
    narrow_scores(properties, service)
    if service.models.embedders.count:
        _narrow_embeddings(properties, service)


def _narrow_embeddings(properties: dict[str, dict[str, Any]], service: Service) -> None:
    _narrow_openai(properties[EmbeddingRequest.__name__], service)
    _narrow_ollama(properties[OllamaEmbedRequest.__name__], service)
    for kind in (OllamaEmbedRequest, OllamaPromptRequest):
        properties[kind.__name__]["model"] = model_names(service.models.embedders)
    embed, tokenize = properties[EmbedRequest.__name__], properties[TokenizeRequest.__name__]
    default = service.models.default
    embed["inputs"] = _inputs({}, {}, default.vocabulary, default.encoder.max_seq_length)
    sparse = properties[EmbedSparseRequest.__name__]
    for each in (sparse, tokenize):
        each["inputs"] = texts({}, {})  # no maxItems: too many texts are rejected with 413
    embed["dimensions"] = optional(
        {"type": "integer", "minimum": 1, "maximum": default.encoder.full_dimension}
    )
    properties[SimilarityInput.__name__]["sentences"]["minItems"] = 1
    parameters = properties[SimilarityParameters.__name__]
    for each in (embed, sparse, parameters, properties[OllamaEmbedRequest.__name__]):
        each.update({name: {"enum": [None], "default": None} for name in CHUNK_FIELDS})
    for each in (embed, sparse, tokenize, parameters):
        each["prompt_name"] = {"enum": [None, *prompt_names(default)]}
    for each in (embed, sparse, parameters):
        each["truncation_direction"] = {"enum": list(get_args(Direction)), "default": "Right"}


def _narrow_openai(properties: dict[str, Any], service: Service) -> None:
    settings = service.settings
    longest = _longest(service)
    # Token ids are not described, because most clients would send those of another tokenizer.
    properties["input"] = texts({"minLength": 1}, {"maxItems": settings.max_texts})
    properties["model"] = model_names(service.models.embedders)
    properties["dimensions"] = optional(
        {"type": "integer", "minimum": 1, "maximum": settings.pad_to or longest}
    )
    for name, allowed in FIXED.items():
        properties[name] = {"enum": [None, *allowed], "default": None}


def _narrow_ollama(properties: dict[str, Any], service: Service) -> None:
    longest = _longest(service)
    properties["dimensions"] = optional({"type": "integer", "minimum": 1, "maximum": longest})
    text = {"type": "string"}
    several = {"type": "array", "items": text, "maxItems": service.settings.max_texts}
    properties["input"] = {"anyOf": [text, several], "default": ""}


def _longest(service: Service) -> int:
    """Most dimensions of a vector."""
    return max(each.encoder.full_dimension for each in service.models.all if isinstance(each, ServedModel))


def _inputs(of_one: dict[str, int], of_all: dict[str, int], vocabulary: int, longest: int) -> dict[str, Any]:
    """The schema of texts or token ids."""
    token_id = {"type": "integer", "minimum": 0, "maximum": vocabulary - 1}
    ids = {"type": "array", "items": token_id, "minItems": 1, "maxItems": longest}
    several = {"type": "array", "items": ids, "minItems": 1}
    return {"anyOf": [*texts(of_one, of_all)["anyOf"], ids, several]}
