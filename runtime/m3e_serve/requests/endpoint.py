"""One request from its headers to its answer: who may ask, how much and how long, and how it is refused."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import orjson
from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from m3e_runtime.scheduling import Priority
from m3e_serve.errors import ApiError, ErrorStyle, as_api_error, shutting_down
from m3e_serve.monitoring.tracing import CALL
from m3e_serve.requests import request_id as access
from m3e_serve.requests.api_keys import check_key
from m3e_serve.requests.compression import ENCODINGS, unpack
from m3e_serve.service import Service

__all__ = ["Answer", "Call", "Endpoint", "Handler", "Unrouted", "json_answer"]

logger = logging.getLogger(__name__)

PRIORITY_HEADER = b"m3e-priority"
_PRIORITIES = {name.encode(): name for name in get_args(Priority)}
_JSON = b"application/json"
_MOMENT = 0.02
"""Seconds after which it is worth to look whether the client is still there."""
_SLOW = 1 << 17
"""Bytes a second that a client's link carries at least: a megabit. A large body may take so much longer."""
_GONE = 499  # what nginx writes in its logs when the client closed the connection


@dataclass(slots=True)
class Answer:
    """What is sent: ``body``, then ``rest``, each piece of which is made when those before were read."""

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    headers: list[tuple[bytes, bytes]] | tuple[()] = ()
    rest: AsyncGenerator[bytes, None] | None = None


@dataclass(slots=True)
class Call:
    """What a handler is given, and what it tells about the call for the logs."""

    headers: dict[bytes, bytes]
    path: dict[str, Any]
    body: bytes = b""
    held: int = 0
    model: str | None = None
    texts: int = 0
    tokens: int = 0

    def priority(self, texts: int) -> Priority:
        """As the header ``M3E-Priority`` says; without it one text is a query, and several are documents.

        Raises:
            ApiError: the header says something else.
        """
        self.texts = texts
        asked = self.headers.get(PRIORITY_HEADER)
        if asked is None:
            return "query" if texts == 1 else "document"
        found: Priority | None = _PRIORITIES.get(asked.lower())
        if found is None:
            raise ApiError(400, "The header M3E-Priority says neither query nor document.", "invalid_value")
        return found


Handler = Callable[[Call], Awaitable[Answer]]


def json_answer(content: Any, status: int = 200) -> Answer:
    """``content`` as JSON; numpy arrays are lists."""
    return Answer(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status)


class Endpoint:
    """An ASGI application for one route.

    Args:
        service: what all routes share.
        name: of the route, for metrics and logs.
        handler: gives the answer.
        style: of refusals.
        guarded: needs an API key, counts as work, and is refused while the service drains.
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
        self._answers: dict[int, Counter] = {}  # by status: looking up labels takes microseconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        call = Call(dict(scope["headers"]), scope.get("path_params", {}))
        request_id = access.request_id(call.headers.get(access.REQUEST_ID_HEADER))
        if self._guarded:
            scope[CALL] = self._name, call
            self._service.count(1)
        try:
            answer = await self._answer(call, scope["method"], receive, request_id)
            if answer is not None:
                if scope.get("http_version") == "1.0":
                    await _join(answer)
                await _send(answer, request_id, not self._service.ready, send)
                if answer.rest is not None:
                    with _UntilGone(receive):
                        await _send_rest(answer.rest, send)
        finally:
            self._service.held_bytes -= call.held
            call.body = b""  # whatever still refers to the request does not keep it
            if self._guarded:
                self._service.count(-1)
        status = _GONE if answer is None else answer.status
        self._record(scope, call, status, time.perf_counter() - start, request_id)

    async def _answer(self, call: Call, method: str, receive: Receive, request_id: str) -> Answer | None:
        """None: the client has gone."""
        settings = self._service.settings
        try:
            if self._guarded:
                check_key(settings.key_digests, call.headers)
                self._service.check_open()
            if method == "POST":
                call.body = await _read_body(call, receive, self._service)
            async with asyncio.timeout(settings.request_timeout):
                with _UntilGone(receive):
                    return await self._handler(call)
            return None
        except _GoneError:
            return None
        except asyncio.CancelledError:
            if not self._service.draining:
                raise
            return self._refusal(shutting_down())  # its time was up
        except Exception as error:
            refused = as_api_error(error)
            if refused is None or refused.status == 500:
                _log_failure(error, request_id)
            return self._refusal(refused or ApiError(500, "The service failed.", tei_type="Backend"))

    def _refusal(self, error: ApiError) -> Answer:
        if error.status in (429, 503):
            self._service.metrics.rejected.labels(error.code or "other").inc()
        status, content = self._style(error)
        answer = json_answer(content, status)
        answer.headers = error.headers
        return answer

    def _record(self, scope: Scope, call: Call, status: int, seconds: float, request_id: str) -> None:
        counter = self._answers.get(status)
        if counter is None:
            counter = self._answers[status] = self._service.metrics.requests.labels(self._name, str(status))
        counter.inc()
        self._duration.observe(seconds)
        if self._logged and self._service.settings.access_log:
            fields = {
                "request_id": request_id,
                **access.origin(scope),
                "route": self._name,
                "status": status,
                "seconds": round(seconds, 6),
                "model": call.model,
                "texts": call.texts,
                "tokens": call.tokens,
            }
            logger.info("request", extra={"fields": fields})


class Unrouted(Endpoint):
    """An ASGI application for a request that no route takes.

    Args:
        service: what all routes share.
        error: the refusal.
        style: of the refusal.
        name: of the route, where the path has one.
    """

    def __init__(
        self, service: Service, error: ApiError, style: ErrorStyle, name: str = "unknown path"
    ) -> None:
        async def refuse(call: Call) -> Answer:
            raise error

        super().__init__(service, name, refuse, style, guarded=False)
        self._logged = True

    async def _answer(self, call: Call, method: str, receive: Receive, request_id: str) -> Answer | None:
        return await super()._answer(call, "GET", receive, request_id)  # a body is not waited for


class _GoneError(Exception):
    """The client closed the connection before its request was whole."""


class _UntilGone:
    """Ends the block when the client has gone. It is first looked for when an answer takes its time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_MOMENT, self._start)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # it refers to this object: together they would keep the request
        if self._gone and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            return True
        return False

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()


async def _read_body(call: Call, receive: Receive, service: Service) -> bytes:
    headers, most = call.headers, service.settings.body_limit
    seconds = service.settings.receive_timeout
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in ENCODINGS and encoding not in (b"", b"identity"):
        raise ApiError(415, "Bodies are taken as they are, or compressed by gzip or deflate.", close=True)
    if int(headers.get(b"content-length", b"0")) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds) as limit:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise _too_large(most)
                service.hold(len(part), size)
                call.held += len(part)
                parts.append(part)
                if size > _SLOW and (until := limit.when()) is not None:
                    limit.reschedule(until + len(part) / _SLOW)
                more = message.get("more_body", False)
    except TimeoutError:
        reason = f"The body did not arrive within {seconds:g} seconds."
        raise ApiError(408, reason, "request_timeout", close=True) from None
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    if encoding not in ENCODINGS:
        return body
    body = await unpack(body, encoding, most)
    service.hold(len(body), len(body))
    call.held += len(body)
    return body


def _too_large(most: int) -> ApiError:
    return ApiError(
        413, f"The body is larger than {most} bytes; send fewer texts.", "body_too_large", close=True
    )


async def _send(answer: Answer, request_id: str, closing: bool, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if answer.rest is None and answer.status != HTTPStatus.NOT_MODIFIED:  # its length would be the file's
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": answer.rest is not None})


async def _join(answer: Answer) -> None:
    """Make ``answer`` whole: HTTP/1.0 knows no pieces."""
    if answer.rest is not None:
        answer.body = b"".join([answer.body, *[piece async for piece in answer.rest]])
        answer.rest = None


async def _send_rest(rest: AsyncGenerator[bytes, None], send: Send) -> None:
    async with aclosing(rest):
        async for piece in rest:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _log_failure(error: Exception, request_id: str) -> None:
    """Where it happened and what kind it is; a message could quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    fields = {
        "request_id": request_id,
        "error": type(error).__name__,
        "trace": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    logger.error("request failed", extra={"fields": fields})
