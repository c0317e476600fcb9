"""Responses, and sending them over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.types import Send

__all__ = ["Response", "join_pieces", "json_response", "rows_response", "send_pieces", "send_response"]

_JSON = b"application/json"
_ROWS = 64
"""Rows that are written without a break."""


@dataclass(slots=True)
class Response:
    """A response: ``body``, followed by the pieces of ``rest``. Each piece is made when the client reads."""

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    headers: list[tuple[bytes, bytes]] | tuple[()] = ()
    rest: AsyncGenerator[bytes, None] | None = None


def json_response(content: Any, status: int = 200) -> Response:
    """A response of ``content`` as JSON. numpy arrays become lists."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status)


async def rows_response(rows: Any, as_json: Callable[[Any], Any] = lambda some: some) -> Response:
    """A response of a list of ``rows``, written some rows at a time: other requests take turns with them.

    Args:
        rows: an array or a list.
        as_json: makes what is written of some rows.
    """
    parts: list[bytes] = []
    for start in range(0, len(rows), _ROWS):
        some = as_json(rows[start : start + _ROWS])
        parts.append(orjson.dumps(some, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
        await asyncio.sleep(0)
    return Response(b"[" + b",".join(parts) + b"]")


async def send_response(response: Response, request_id: str, close: bool, send: Send) -> None:
    """Send the headers and ``body``. ``close`` asks the client to close the connection."""
    headers = [
        (b"content-type", response.content_type),
        (b"x-request-id", request_id.encode()),
        *response.headers,
    ]
    # A 304 would have the content length of the file.
    if response.rest is None and response.status != HTTPStatus.NOT_MODIFIED:
        headers.append((b"content-length", b"%d" % len(response.body)))
    if close:
        headers.append((b"connection", b"close"))
    more = response.rest is not None
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": more})


async def send_pieces(pieces: AsyncGenerator[bytes, None], send: Send) -> None:
    """Send ``rest`` of a response, and end it."""
    async with aclosing(pieces):
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def join_pieces(response: Response) -> None:
    """Move ``rest`` into ``body``, because HTTP/1.0 has no chunked encoding."""
    if response.rest is not None:
        response.body = b"".join([response.body, *[piece async for piece in response.rest]])
        response.rest = None
