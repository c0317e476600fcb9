"""Decompressing bodies, within a size limit."""

from __future__ import annotations

import asyncio
import zlib

from m3e_serve.errors import ApiError

__all__ = ["ENCODINGS", "decompress"]

ENCODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""zlib's ``wbits`` for each Content-Encoding."""

_STEP = 1 << 16  # bytes decompressed at a time
_INLINE = 1 << 12
"""Bodies up to this size are decompressed in the event loop. 4 MB of zeros take milliseconds."""


async def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Decompress ``body``, in another thread if it is large.

    Raises:
        ApiError: 400, the body is damaged. 413, it decompresses to more than ``limit`` bytes.
    """
    if len(body) <= _INLINE:
        return _decompress(body, encoding, limit)
    return await asyncio.to_thread(_decompress, body, encoding, limit)


def _decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(ENCODINGS[encoding])
    parts: list[bytes] = []
    size = 0
    try:
        for start in range(0, len(body), _STEP):
            compressed = body[start : start + _STEP]
            while compressed and not decompressor.eof:
                parts.append(decompressor.decompress(compressed, _STEP))
                compressed = decompressor.unconsumed_tail
                size += len(parts[-1])
                if size > limit:
                    raise _too_large(limit)
        while not decompressor.eof and (part := decompressor.decompress(b"", _STEP)):
            parts.append(part)  # at most the bytes that zlib buffered in the last step
    except zlib.error as error:
        raise _damaged(str(error)) from error
    if body and not decompressor.eof:
        raise _damaged("it is incomplete")
    if decompressor.unused_data:
        raise _damaged("it has trailing data")
    return b"".join(parts)


def _damaged(why: str) -> ApiError:
    return ApiError(400, f"The compressed body is damaged: {why}.", "invalid_encoding")


def _too_large(limit: int) -> ApiError:
    reason = f"The body decompresses to more than {limit} bytes; send fewer texts."
    return ApiError(413, reason, "body_too_large")
