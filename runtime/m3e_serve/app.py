"""The service as an ASGI application."""

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
from m3e_serve.interfaces import ollama, openai, tei
from m3e_serve.interfaces.openapi import describe
from m3e_serve.models.served_models import Models
from m3e_serve.monitoring import metrics
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.monitoring.tracing import Tracing, open_tracing
from m3e_serve.requests.cors import EXPOSED_HEADERS
from m3e_serve.requests.endpoint import Answer, Call, Endpoint, Handler, Unrouted, json_answer
from m3e_serve.requests.paths import TidyPaths
from m3e_serve.service import Service
from m3e_serve.settings import ServeSettings

__all__ = ["create_app", "load_service"]

_TEI_ROUTES = ("/embed", "/similarity", "/tokenize", "/info", "/invocations", "/")


def load_service(settings: ServeSettings) -> Service:
    """Load the bundles.

    Raises:
        M3EError: as :meth:`m3e_runtime.Encoder.load`.
    """
    figures = Metrics()
    return Service(settings, Models.open(settings, figures), figures)


def create_app(service: Service) -> Starlette:
    """The application; its lifespan starts and closes the engines of ``service``."""
    traces = open_tracing() if service.settings.otel else None
    tracing = [Middleware(Tracing, provider=traces)] if traces is not None else []
    app = Starlette(
        routes=_routes(service),
        middleware=[*_cors(service.settings), *tracing, Middleware(TidyPaths)],
        exception_handlers={HTTPException: _unrouted(service)},
        lifespan=_lifespan(service, traces),
    )
    app.router.redirect_slashes = False
    return app


def _cors(settings: ServeSettings) -> list[Middleware]:
    """Clients in pages send headers of their own, new ones with each version: those asked for are allowed."""
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
            await asyncio.to_thread(traces.shutdown)  # sends what was not sent yet

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

    async def live(call: Call) -> Answer:
        if not service.alive:
            raise ApiError(503, "An engine has stopped.", tei_type="Unhealthy")
        return Answer(b"", content_type=b"text/plain")

    async def ready(call: Call) -> Answer:
        if not service.ready:
            raise ApiError(503, "The service is starting or shutting down.", tei_type="Unhealthy")
        return await live(call)

    async def figures(call: Call) -> Answer:
        return Answer(service.metrics.render(), content_type=metrics.CONTENT_TYPE.encode())

    description = describe(service)

    async def openapi(call: Call) -> Answer:
        return json_answer(description)

    return [
        route("/v1/embeddings", post, embeddings, openai_style),  # first: routes are tried in order
        route("/embed", post, embed),
        route("/v1/models", get, openai.ModelList(service), openai_style),
        route("/v1/models/{id:path}", get, openai.OneModel(service), openai_style),
        route("/openai/deployments/{id:path}/embeddings", post, embeddings, openai_style),
        route("/api/embed", post, ollama.OllamaEmbed(service), ollama.ollama_style),
        route("/api/embeddings", post, ollama.OllamaPrompt(service), ollama.ollama_style),
        route("/api/tags", get, ollama.Tags(service), ollama.ollama_style),
        route("/api/version", get, ollama.version, ollama.ollama_style),
        route("/similarity", post, tei.Similarity(service)),
        route("/tokenize", post, tei.Tokenize(service)),
        route("/info", get, tei.Info(service)),
        route("/", post, embed),  # as TEI has it, for clients that know the bare address only
        route("/health", get, ready, guarded=False),
        route("/livez", get, live, guarded=False),
        route("/readyz", get, ready, guarded=False),
        route("/metrics", get, figures, guarded=False),
        route("/openapi.json", get, openapi, guarded=False),
        route("/", get, page.index, guarded=False, name="/page"),  # metrics keep it apart from POST /
        route("/page/{name}", get, page.page_file, guarded=False),
    ]


def _unrouted(service: Service):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Starlette's type is private
    """Unknown paths and methods."""

    async def refuse(request: Request, error: Exception) -> Unrouted:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        path = request.url.path
        style = _style_of(path)
        # Several routes may have this path, each with methods of its own.
        here = [route for route in request.app.routes if route.path_regex.match(path)]
        if error.status_code == 405:
            allow = ", ".join(sorted({method for route in here for method in route.methods}))
            message = f"{request.method} is not possible here."
            refused = ApiError(405, message, "method_not_allowed", allow=allow)
            return Unrouted(service, refused, style, here[0].path)
        refused = ApiError(error.status_code, "There is nothing under this path.", "not_found")
        return Unrouted(service, refused, style)

    return refuse


def _style_of(path: str) -> ErrorStyle:
    if path.startswith("/api/"):
        return ollama.ollama_style
    return tei_style if path in _TEI_ROUTES else openai_style
