"""One request from its headers to its answer: who may ask, how much and how long, and how it is refused."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson
from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from m3e_runtime.scheduling import Priority
from m3e_runtime.serve.auth import check_key
from m3e_runtime.serve.errors import ApiError, ErrorStyle, as_api_error, shutting_down
from m3e_runtime.serve.service import Service

__all__ = ["Answer", "Call", "Endpoint", "Handler", "json_answer"]

logger = logging.getLogger(__name__)

PRIORITY_HEADER = b"m3e-priority"
_PRIORITIES = {name.encode(): name for name in get_args(Priority)}
_JSON = b"application/json"
_MOMENT = 0.02
"""Seconds after which it is worth to look whether the client is still there."""
_PROCESS_ID = secrets.token_hex(6)
_numbers = itertools.count(1)  # asking the system for randomness each time would cost a thread switch
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
        self._guarded = guarded
        self._duration = service.metrics.duration.labels(name)
        self._answers: dict[int, Counter] = {}  # by status: looking up labels takes microseconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        call = Call(dict(scope["headers"]), scope.get("path_params", {}))
        request_id = f"{_PROCESS_ID}-{next(_numbers)}"
        if self._guarded:
            self._service.count(1)
        try:
            answer = await self._answer(call, scope["method"], receive, request_id)
            if answer is not None:
                await _send(answer, request_id, self._service.draining, send)
                if answer.rest is not None:
                    with _UntilGone(receive):
                        await _send_rest(answer.rest, send)
        finally:
            if self._guarded:
                self._service.count(-1)
        self._record(
            call, _GONE if answer is None else answer.status, time.perf_counter() - start, request_id
        )

    async def _answer(self, call: Call, method: str, receive: Receive, request_id: str) -> Answer | None:
        """None: the client has gone."""
        settings = self._service.settings
        try:
            if self._guarded:
                check_key(settings.key_digests, call.headers.get(b"authorization"))
                self._service.check_open()
            if method == "POST":
                call.body = await _read_body(
                    call.headers, receive, settings.max_body, settings.receive_timeout
                )
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

    def _record(self, call: Call, status: int, seconds: float, request_id: str) -> None:
        counter = self._answers.get(status)
        if counter is None:
            counter = self._answers[status] = self._service.metrics.requests.labels(self._name, str(status))
        counter.inc()
        self._duration.observe(seconds)
        if self._guarded and self._service.settings.access_log:
            fields = {
                "request_id": request_id,
                "route": self._name,
                "status": status,
                "seconds": round(seconds, 6),
                "model": call.model,
                "texts": call.texts,
                "tokens": call.tokens,
            }
            logger.info("request", extra={"fields": fields})


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


async def _read_body(headers: dict[bytes, bytes], receive: Receive, most: int, seconds: float) -> bytes:
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ApiError(415, "A body that is compressed is not understood; send it as it is.", close=True)
    if int(headers.get(b"content-length", b"0")) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        reason = f"The body did not arrive within {seconds:g} seconds."
        raise ApiError(408, reason, "request_timeout", close=True) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


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
    if answer.rest is None:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": answer.rest is not None})


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
