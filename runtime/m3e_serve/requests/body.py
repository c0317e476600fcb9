"""Reading the body of a request, within limits of size, time and memory."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from m3e_serve.errors import ApiError
from m3e_serve.requests.call import Call
from m3e_serve.requests.compression import ENCODINGS, decompress
from m3e_serve.requests.disconnect import ClientDisconnectedError
from m3e_serve.service import Service

__all__ = ["read_body"]

_MIN_BYTES_PER_SECOND = 1 << 17
"""Slowest supported link, one megabit per second. The timeout of a large body grows accordingly."""


async def read_body(call: Call, receive: Receive, service: Service) -> bytes:
    """Read and decompress the body of ``call``.

    Raises:
        ApiError: 400, 408, 413, 415 or 429.
        ClientDisconnectedError: the client closed the connection.
    """
    limit = service.settings.body_limit
    encoding = call.headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in ENCODINGS and encoding not in (b"", b"identity"):
        raise ApiError(415, "The Content-Encoding of a body must be gzip, deflate or identity.", close=True)
    if int(call.headers.get(b"content-length", b"0")) > limit:
        raise _too_large(limit)
    body = await _receive_body(call, receive, service)
    if encoding not in ENCODINGS:
        return body
    body = await decompress(body, encoding, limit)
    _reserve(call, service, len(body), len(body))
    return body


async def _receive_body(call: Call, receive: Receive, service: Service) -> bytes:
    limit, seconds = service.settings.body_limit, service.settings.receive_timeout
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds) as timeout:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                _reserve(call, service, len(part), size)
                parts.append(part)
                if size > _MIN_BYTES_PER_SECOND and (deadline := timeout.when()) is not None:
                    timeout.reschedule(deadline + len(part) / _MIN_BYTES_PER_SECOND)
                more = message.get("more_body", False)
    except TimeoutError:
        reason = f"The body did not arrive within {seconds:g} seconds."
        raise ApiError(408, reason, "request_timeout", close=True) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _reserve(call: Call, service: Service, size: int, body_size: int) -> None:
    service.admission.reserve(size, body_size)
    call.reserved += size


def _too_large(limit: int) -> ApiError:
    reason = f"The body is larger than {limit} bytes; send fewer texts."
    return ApiError(413, reason, "body_too_large", close=True)
