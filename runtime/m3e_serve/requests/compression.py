"""Bodies that clients compressed."""

from __future__ import annotations

import asyncio
import zlib

from m3e_serve.errors import ApiError

__all__ = ["ENCODINGS", "unpack"]

ENCODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""``wbits`` of zlib for each Content-Encoding."""

_STEP = 1 << 16  # bytes unpacked at a time
_INLINE = 1 << 12
"""Compressed bytes that are unpacked in the event loop: up to 4 MB of zeros, which takes milliseconds."""


async def unpack(body: bytes, encoding: bytes, most: int) -> bytes:
    """The body as it was before; in another thread where it is large.

    Raises:
        ApiError: it is damaged, or unpacks to more than ``most`` bytes.
    """
    if len(body) <= _INLINE:
        return _unpack(body, encoding, most)
    return await asyncio.to_thread(_unpack, body, encoding, most)


def _unpack(body: bytes, encoding: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(ENCODINGS[encoding])
    parts: list[bytes] = []
    size = 0
    try:
        for start in range(0, len(body), _STEP):
            packed = body[start : start + _STEP]
            while packed and not unpacker.eof:
                parts.append(unpacker.decompress(packed, _STEP))
                packed = unpacker.unconsumed_tail
                size += len(parts[-1])
                if size > most:
                    raise _too_large(most)
        while not unpacker.eof and (part := unpacker.decompress(b"", _STEP)):
            parts.append(part)  # at most what zlib holds back of the last step
    except zlib.error as error:
        raise _damaged(str(error)) from error
    if body and not unpacker.eof:
        raise _damaged("it ends too early")
    if unpacker.unused_data:
        raise _damaged("something comes after its end")
    return b"".join(parts)


def _damaged(why: str) -> ApiError:
    return ApiError(400, f"The compressed body is damaged: {why}.", "invalid_encoding")


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The body unpacks to more than {most} bytes; send fewer texts.", "body_too_large")
