"""Which pages of other origins may read an answer."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["EXPOSED_HEADERS", "cors_headers"]

EXPOSED_HEADERS = ("retry-after", "x-request-id", "x-should-retry")
"""What pages may read beside the few headers that they always may."""


def cors_headers(allowed: Sequence[str], origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """Headers of an answer that the application has not made, as Starlette's middleware has them.

    Args:
        allowed: origins, or ``*``, as ``--cors-origin`` takes them.
        origin: the request's, None where it has none or is not known.
    """
    if origin is None or not allowed:
        return []
    exposed = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())
    if "*" in allowed:
        return [(b"access-control-allow-origin", b"*"), exposed]
    if origin.decode("latin-1") not in allowed:
        return []
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), exposed]
