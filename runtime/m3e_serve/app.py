"""The ASGI application: which path has which handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import Route

from m3e_serve import page
from m3e_serve.errors import ApiError, ErrorStyle, openai_style, tei_style
from m3e_serve.interfaces import ollama, openai, rerank, tei, tei_scores, tei_sparse
from m3e_serve.interfaces.health import HealthChecks
from m3e_serve.interfaces.openapi import describe
from m3e_serve.models.registry import ModelRegistry
from m3e_serve.monitoring.metrics import CONTENT_TYPE, Metrics
from m3e_serve.monitoring.tracing import Tracing, open_tracing
from m3e_serve.requests.call import Call
from m3e_serve.requests.cors import EXPOSED_HEADERS
from m3e_serve.requests.endpoint import Endpoint, ErrorEndpoint, Handler
from m3e_serve.requests.paths import NormalizePaths
from m3e_serve.requests.response import Response, json_response
from m3e_serve.service import Service
from m3e_serve.settings import ServeSettings

__all__ = ["create_app", "load_service"]

_TEI_ROUTES = ("/embed", "/embed_sparse", "/rerank", "/predict", "/similarity", "/tokenize", "/info", "/")
_RERANK_ROUTES = ("/v1/rerank", "/v2/rerank")


def load_service(settings: ServeSettings) -> Service:
    """Load the bundles.

    Raises:
        M3EError: as :meth:`m3e_runtime.Encoder.load`.
    """
    metrics = Metrics()
    return Service(settings, ModelRegistry.load(settings, metrics), metrics)


def create_app(service: Service) -> Starlette:
    """The application. Its lifespan starts and closes the engines of ``service``."""
    traces = open_tracing() if service.settings.otel else None
    tracing = [Middleware(Tracing, provider=traces)] if traces is not None else []
    app = Starlette(
        routes=_routes(service),
        middleware=[*_cors(service.settings), *tracing, Middleware(NormalizePaths)],
        exception_handlers={HTTPException: _routing_errors(service)},
        lifespan=_lifespan(service, traces),
    )
    app.router.redirect_slashes = False
    return app


def _cors(settings: ServeSettings) -> list[Middleware]:
    """CORS middleware. It allows all request headers, because clients add new ones with each version."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
        )
    ]


def _lifespan(service: Service, traces: Any):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Starlette's type is private
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.models.start()
        service.ready = True
        yield
        service.drain()
        await service.models.close()
        if traces is not None:
            await asyncio.to_thread(traces.shutdown)  # exports the remaining spans

    return lifespan


def _routes(service: Service) -> list[Route]:
    post, get = ["POST"], ["GET"]

    def route(
        path: str,
        methods: list[str],
        handler: Handler,
        style: ErrorStyle = tei_style,
        guarded: bool = True,
        name: str | None = None,
    ) -> Route:
        return Route(path, Endpoint(service, name or path, handler, style, guarded), methods=methods)

    embed = tei.Embed(service)
    embeddings = openai.Embeddings(service)

    rerank_texts, predict = tei_scores.TeiRerank(service), tei_scores.Predict(service)
    by_task: dict[str, Handler] = {"embed": embed, "rerank": rerank_texts, "classify": predict}
    health = HealthChecks(service)
    description = json_response(describe(service))

    async def metrics(call: Call) -> Response:
        return Response(service.metrics.render(), content_type=CONTENT_TYPE.encode())

    async def openapi_description(call: Call) -> Response:
        return description

    return [
        route("/v1/embeddings", post, embeddings, openai_style),  # routes are tried in order
        route("/embed", post, embed),
        route("/v1/models", get, openai.ModelList(service), openai_style),
        route("/v1/models/{id:path}", get, openai.OneModel(service), openai_style),
        route("/openai/deployments/{id:path}/embeddings", post, embeddings, openai_style),
        route("/api/embed", post, ollama.OllamaEmbed(service), ollama.ollama_style),
        route("/api/embeddings", post, ollama.OllamaPrompt(service), ollama.ollama_style),
        route("/api/tags", get, ollama.Tags(service), ollama.ollama_style),
        route("/api/version", get, ollama.version, ollama.ollama_style),
        route("/embed_sparse", post, tei_sparse.EmbedSparse(service)),
        route("/v1/rerank", post, rerank.Rerank(service, 1), rerank.rerank_style),
        route("/v2/rerank", post, rerank.Rerank(service, 2), rerank.rerank_style),
        route("/rerank", post, rerank_texts),
        route("/predict", post, predict),
        route("/similarity", post, tei.Similarity(service)),
        route("/tokenize", post, tei.Tokenize(service)),
        route("/info", get, tei.Info(service)),
        route("/", post, by_task[service.models.all[0].task]),  # as in TEI
        route("/health", get, health.ready, guarded=False),
        route("/livez", get, health.live, guarded=False),
        route("/readyz", get, health.ready, guarded=False),
        route("/metrics", get, metrics, guarded=False),
        route("/openapi.json", get, openapi_description, guarded=False),
        route("/", get, page.index, guarded=False, name="/page"),  # a name of its own in metrics
        route("/page/{name}", get, page.page_file, guarded=False),
    ]


def _routing_errors(service: Service):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Starlette's type is private
    """The exception handler for unknown paths and methods."""

    async def respond(request: Request, error: Exception) -> ErrorEndpoint:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        path = request.url.path
        style = _style_of(path)
        if error.status_code == 405:
            # Several routes may have this path, each with its own methods.
            routes = [route for route in request.app.routes if route.path_regex.match(path)]
            allow = ", ".join(sorted({method for route in routes for method in route.methods}))
            message = f"The path does not support {request.method}; use {allow}."
            not_allowed = ApiError(405, message, "method_not_allowed", allow=allow)
            return ErrorEndpoint(service, not_allowed, style, routes[0].path)
        not_found = ApiError(error.status_code, "The path does not exist.", "not_found")
        return ErrorEndpoint(service, not_found, style)

    return respond


def _style_of(path: str) -> ErrorStyle:
    if path.startswith("/api/"):
        return ollama.ollama_style
    if path in _RERANK_ROUTES:
        return rerank.rerank_style
    return tei_style if path in _TEI_ROUTES else openai_style
