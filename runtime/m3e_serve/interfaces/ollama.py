"""Ollama's ``/api/embed``, ``/api/embeddings``, ``/api/tags`` and ``/api/version``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

import m3e_runtime
from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import WithoutChunks, refuse_chunks
from m3e_serve.interfaces.prompts import choose_prompt
from m3e_serve.models.served_model import Embedded, ServedModel
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, json_response
from m3e_serve.service import Service

__all__ = [
    "OllamaEmbed",
    "OllamaEmbedRequest",
    "OllamaPrompt",
    "OllamaPromptRequest",
    "Tags",
    "ollama_style",
    "version",
]

_TAG = ":latest"
"""Clients append it to names without a tag."""


class OllamaEmbedRequest(WithoutChunks):
    """The body of ``/api/embed``. ``keep_alive`` is ignored, and so is ``options`` except ``num_ctx``."""

    input: str | list[str] = ""
    model: str | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


class OllamaPromptRequest(msgspec.Struct):
    """The body of ``/api/embeddings``, which only older clients use."""

    prompt: str = ""
    model: str | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


_embed_decoder = BodyDecoder(OllamaEmbedRequest)
_prompt_decoder = BodyDecoder(OllamaPromptRequest)


def ollama_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """Ollama's format: ``{"error"}``."""
    return error.status, {"error": error.message}


@dataclass(frozen=True)
class _Embedding:
    """The common part of both routes."""

    service: Service

    async def embed(
        self, call: Call, name: str | None, texts: list[str], options: dict[str, Any] | None, **asked: Any
    ) -> tuple[ServedModel, Embedded]:
        models, settings = self.service.models, self.service.settings
        untagged = name and name.removesuffix(_TAG)
        model = models.choose(untagged if untagged in models.names else name)
        _check_context_length(options, model)
        if len(texts) > settings.max_texts:
            message = f"`input` has {len(texts)} texts; at most {settings.max_texts} are allowed."
            raise ApiError(400, message)
        call.model = model.name
        asked["truncate"] = settings.truncate if asked.get("truncate") is None else asked["truncate"]
        model, prompt = choose_prompt(model)
        embedded = await model.embed(texts, call.priority(len(texts)), prompt=prompt, **asked)
        call.tokens, call.truncated = embedded.tokens, embedded.truncated
        return model, embedded


class OllamaEmbed(_Embedding):
    """``POST /api/embed``."""

    async def __call__(self, call: Call) -> Response:
        """Vectors of unit length. An empty text has no vector: clients send it to preload a model."""
        start = time.perf_counter_ns()
        request = _embed_decoder.decode(call.body)
        refuse_chunks(request)
        texts = [request.input] if isinstance(request.input, str) else request.input
        texts = [] if texts == [""] and isinstance(request.input, str) else texts
        model, embedded = await self.embed(
            call,
            request.model,
            texts,
            request.options,
            truncate=request.truncate,
            normalize=True,
            dimensions=request.dimensions,
        )
        return json_response(
            {
                "model": request.model or model.name,
                "embeddings": embedded.vectors,
                "total_duration": time.perf_counter_ns() - start,
                "load_duration": 0,
                "prompt_eval_count": embedded.tokens,
            }
        )


class OllamaPrompt(_Embedding):
    """``POST /api/embeddings``."""

    async def __call__(self, call: Call) -> Response:
        """One vector, not normalized."""
        request = _prompt_decoder.decode(call.body)
        texts = [request.prompt] if request.prompt else []
        _, embedded = await self.embed(call, request.model, texts, request.options, normalize=False)
        return json_response({"embedding": embedded.vectors[0] if texts else []})


class Tags:
    """``GET /api/tags``: the embedding models and their aliases."""

    def __init__(self, service: Service) -> None:
        names = service.models.embedders.names.items()
        self._response = json_response({"models": [_described(name, model) for name, model in names]})

    async def __call__(self, call: Call) -> Response:
        """All names."""
        return self._response


async def version(call: Call) -> Response:
    """``GET /api/version``."""
    return json_response({"version": m3e_runtime.__version__})


def _check_context_length(options: dict[str, Any] | None, model: ServedModel) -> None:
    length = (options or {}).get("num_ctx")
    max_length = model.encoder.max_seq_length
    if length is not None and not (isinstance(length, int) and length >= max_length):
        reason = f"options.num_ctx: texts are truncated at the model's {max_length} tokens; leave it out."
        raise ApiError(400, reason)


def _described(name: str, model: ServedModel) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": datetime.fromtimestamp(model.created, UTC).isoformat(),
        "size": sum(file.stat().st_size for file in model.encoder.bundle.path.rglob("*") if file.is_file()),
        "digest": model.manifest.source.weights_sha256,
        "details": {
            "format": "m3e",
            "family": "bert",
            "parameter_size": "",
            "quantization_level": model.precision,
        },
    }
