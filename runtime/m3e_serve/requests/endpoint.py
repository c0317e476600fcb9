"""The ASGI application of a route: API key, admission, body, timeout, handler, errors, access log."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from m3e_serve.errors import ApiError, ErrorStyle, as_api_error, shutting_down
from m3e_serve.monitoring.tracing import CALL
from m3e_serve.requests.api_keys import check_key
from m3e_serve.requests.body import read_body
from m3e_serve.requests.call import Call
from m3e_serve.requests.disconnect import CancelOnDisconnect, ClientDisconnectedError
from m3e_serve.requests.request_id import REQUEST_ID_HEADER, choose_request_id, describe_request
from m3e_serve.requests.response import Response, join_pieces, json_response, send_pieces, send_response
from m3e_serve.service import Service

__all__ = ["Endpoint", "ErrorEndpoint", "Handler"]

logger = logging.getLogger(__name__)

_CLIENT_CLOSED = 499  # the status that nginx logs if the client closes the connection

Handler = Callable[[Call], Awaitable[Response]]


class Endpoint:
    """The ASGI application of one route.

    Args:
        service: the state that all routes share.
        name: name of the route in metrics and logs.
        handler: makes the response.
        style: format of error responses.
        guarded: whether requests need an API key, count as in flight, and are rejected while draining.
    """

    def __init__(
        self, service: Service, name: str, handler: Handler, style: ErrorStyle, guarded: bool = True
    ) -> None:
        self._service = service
        self._name = name
        self._handler = handler
        self._style = style
        self._guarded = self._logged = guarded
        self._duration = service.metrics.duration.labels(name)
        self._responses: dict[int, Counter] = {}  # by status, because looking up labels takes microseconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        start = time.perf_counter()
        call = Call(dict(scope["headers"]), scope.get("path_params", {}))
        request_id = choose_request_id(call.headers.get(REQUEST_ID_HEADER))
        if self._guarded:
            scope[CALL] = self._name, call
            self._service.count_in_flight(1)
        try:
            response = await self._respond(call, scope["method"], receive, request_id)
            if response is not None:
                if scope.get("http_version") == "1.0":
                    await join_pieces(response)
                await send_response(response, request_id, not self._service.ready, send)
                if response.rest is not None:
                    with CancelOnDisconnect(receive):
                        await send_pieces(response.rest, send)
        finally:
            self._service.admission.release(call.reserved)
            call.body = b""  # objects that still refer to the call must not keep the body
            if self._guarded:
                self._service.count_in_flight(-1)
        status = _CLIENT_CLOSED if response is None else response.status
        self._record(scope, call, status, time.perf_counter() - start, request_id)

    async def _respond(self, call: Call, method: str, receive: Receive, request_id: str) -> Response | None:
        """The response, or None if the client has disconnected."""
        settings = self._service.settings
        try:
            if self._guarded:
                check_key(settings.key_digests, call.headers)
                self._service.admission.check_open()
            if method == "POST":
                call.body = await read_body(call, receive, self._service)
            async with asyncio.timeout(settings.request_timeout):
                with CancelOnDisconnect(receive):
                    return _with_truncated(await self._handler(call), call.truncated)
            return None
        except ClientDisconnectedError:
            return None
        except asyncio.CancelledError:
            if not self._service.draining:
                raise
            return self._error_response(shutting_down())  # the drain timeout has passed
        except Exception as error:
            known = as_api_error(error)
            if known is None or known.status == 500:
                _log_failure(error, request_id)
            return self._error_response(known or ApiError(500, "The service failed.", tei_type="Backend"))

    def _error_response(self, error: ApiError) -> Response:
        if error.status in (429, 503):
            self._service.metrics.rejected.labels(error.code or "other").inc()
        status, content = self._style(error)
        response = json_response(content, status)
        response.headers = error.headers
        return response

    def _record(self, scope: Scope, call: Call, status: int, seconds: float, request_id: str) -> None:
        counter = self._responses.get(status)
        if counter is None:
            counter = self._service.metrics.requests.labels(self._name, str(status))
            self._responses[status] = counter
        counter.inc()
        self._duration.observe(seconds)
        if self._logged and self._service.settings.access_log:
            fields = {
                "request_id": request_id,
                **describe_request(scope),
                "route": self._name,
                "status": status,
                "seconds": round(seconds, 6),
                "model": call.model,
                "texts": call.texts,
                "tokens": call.tokens,
                "truncated": call.truncated,
            }
            logger.info("request", extra={"fields": fields})


class ErrorEndpoint(Endpoint):
    """The ASGI application for requests that match no route.

    Args:
        service: the state that all routes share.
        error: the error response.
        style: format of the error response.
        name: name of the route, if the path has one.
    """

    def __init__(
        self, service: Service, error: ApiError, style: ErrorStyle, name: str = "unknown path"
    ) -> None:
        async def fail(call: Call) -> Response:
            raise error

        super().__init__(service, name, fail, style, guarded=False)
        self._logged = True

    async def _respond(self, call: Call, method: str, receive: Receive, request_id: str) -> Response | None:
        return await super()._respond(call, "GET", receive, request_id)  # do not wait for a body


def _with_truncated(response: Response, truncated: int) -> Response:
    """Add the number of truncated texts to the headers, if there are any."""
    if truncated:
        response.headers = [*response.headers, (b"m3e-truncated", b"%d" % truncated)]
    return response


def _log_failure(error: Exception, request_id: str) -> None:
    """Log the place and type of an error, but not its message, which could quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    fields = {
        "request_id": request_id,
        "error": type(error).__name__,
        "trace": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    logger.error("request failed", extra={"fields": fields})
