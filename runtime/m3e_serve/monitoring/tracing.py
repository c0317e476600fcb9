"""An OpenTelemetry span for each request. OpenTelemetry is imported only with ``--otel``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["CALL", "Tracing", "open_tracing"]

CALL = "m3e.call"
"""Key of the ASGI scope under which guarded endpoints store the route's name and the call."""

_SERVER_ERROR = 500


def open_tracing() -> TracerProvider:
    """A tracer provider that exports over HTTP, configured by OpenTelemetry's ``OTEL_…`` variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if has_name else {"service.name": "m3e-serve"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """ASGI middleware that records a span for each request of a guarded route.

    The parent is the span in the header ``traceparent``. The attributes are route, status, model, and the
    numbers of texts and tokens. Texts are never recorded.
    """

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = provider.get_tracer("m3e_runtime")
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        start, status = time.time_ns(), 0

        async def send_and_watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_and_watch)
        finally:
            if CALL in scope:
                self._record(scope, start, status)

    def _record(self, scope: Scope, start: int, status: int) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            f"{scope['method']} {scope[CALL][0]}",
            context=self._propagator.extract(headers),
            kind=SpanKind.SERVER,
            attributes=_attributes(scope, status),
            start_time=start,
        )
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end()


def _attributes(scope: Scope, status: int) -> dict[str, Any]:
    route, call = scope[CALL]
    found = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status,  # 0: the client disconnected
        "m3e.model": call.model,
        "m3e.texts": call.texts,
        "m3e.tokens": call.tokens,
    }
    return {name: value for name, value in found.items() if value}
