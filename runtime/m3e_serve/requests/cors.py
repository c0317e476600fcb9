"""CORS headers, which let web pages of other origins read responses."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["EXPOSED_HEADERS", "cors_headers"]

EXPOSED_HEADERS = ("m3e-truncated", "retry-after", "x-request-id", "x-should-retry")
"""Response headers that pages may read, in addition to the few that are always allowed."""


def cors_headers(allowed: Sequence[str], origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """CORS headers of responses that bypass the application, like those of Starlette's middleware.

    Args:
        allowed: the origins of ``--cors-origin``, which may include ``*``.
        origin: the origin of the request, if known.
    """
    if origin is None or not allowed:
        return []
    exposed = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())
    if "*" in allowed:
        return [(b"access-control-allow-origin", b"*"), exposed]
    if origin.decode("latin-1") not in allowed:
        return []
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), exposed]
