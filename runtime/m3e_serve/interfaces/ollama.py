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
from m3e_serve.interfaces.prompts import choose_prompt
from m3e_serve.models.served_models import Embedded, ServedModel
from m3e_serve.requests.endpoint import Answer, Call, json_answer
from m3e_serve.requests.json_bodies import BodyDecoder
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
"""Clients put it behind a name that has no tag."""


class OllamaEmbedRequest(msgspec.Struct):
    """The body of ``/api/embed``; ``options`` and ``keep_alive`` are for generating and loading."""

    input: str | list[str] = ""
    model: str | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


class OllamaPromptRequest(msgspec.Struct):
    """The body of ``/api/embeddings``, which newer clients do not use."""

    prompt: str = ""
    model: str | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


_embed_decoder = BodyDecoder(OllamaEmbedRequest)
_prompt_decoder = BodyDecoder(OllamaPromptRequest)


def ollama_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """``{"error"}``."""
    return error.status, {"error": error.message}


@dataclass(frozen=True)
class _Embedding:
    """What both routes do."""

    service: Service

    async def embed(
        self, call: Call, name: str | None, texts: list[str], options: dict[str, Any] | None, **asked: Any
    ) -> tuple[ServedModel, Embedded]:
        models, settings = self.service.models, self.service.settings
        without = name and name.removesuffix(_TAG)
        model = models.choose(without if without in models.names else name)
        _check_window(options, model)
        if len(texts) > settings.max_texts:
            message = f"`input` has {len(texts)} texts; at most {settings.max_texts} are possible."
            raise ApiError(400, message)
        call.model = model.name
        asked["truncate"] = settings.truncate if asked.get("truncate") is None else asked["truncate"]
        model, prompt = choose_prompt(model)
        embedded = await model.embed(texts, call.priority(len(texts)), prompt=prompt, **asked)
        call.tokens = embedded.tokens
        return model, embedded


class OllamaEmbed(_Embedding):
    """``POST /api/embed``."""

    async def __call__(self, call: Call) -> Answer:
        """Vectors of unit length; none for an empty text, with which clients have models loaded."""
        start = time.perf_counter_ns()
        request = _embed_decoder.decode(call.body)
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
        return json_answer(
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

    async def __call__(self, call: Call) -> Answer:
        """One vector, as the model gives it."""
        request = _prompt_decoder.decode(call.body)
        texts = [request.prompt] if request.prompt else []
        _, embedded = await self.embed(call, request.model, texts, request.options, normalize=False)
        return json_answer({"embedding": embedded.vectors[0] if texts else []})


class Tags:
    """``GET /api/tags``: the bundles and their aliases."""

    def __init__(self, service: Service) -> None:
        names = service.models.names.items()
        self._answer = json_answer({"models": [_described(name, model) for name, model in names]})

    async def __call__(self, call: Call) -> Answer:
        """All names."""
        return self._answer


async def version(call: Call) -> Answer:
    """``GET /api/version``."""
    return json_answer({"version": m3e_runtime.__version__})


def _check_window(options: dict[str, Any] | None, model: ServedModel) -> None:
    window = (options or {}).get("num_ctx")
    most = model.encoder.max_seq_length
    if window is not None and not (isinstance(window, int) and window >= most):
        raise ApiError(400, f"options.num_ctx: texts are cut at the model's own {most} tokens; leave it out.")


def _described(name: str, model: ServedModel) -> dict[str, Any]:
    artifact = model.encoder.artifact
    return {
        "name": name,
        "model": name,
        "modified_at": datetime.fromtimestamp(model.created, UTC).isoformat(),
        "size": sum(file.stat().st_size for file in model.encoder.bundle.path.rglob("*") if file.is_file()),
        "digest": model.encoder.bundle.manifest.source.weights_sha256,
        "details": {
            "format": "m3e",
            "family": "bert",
            "parameter_size": "",
            "quantization_level": artifact.precision,
        },
    }
