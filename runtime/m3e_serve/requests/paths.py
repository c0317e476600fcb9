"""Normalizing paths: extra slashes, and a missing or repeated ``/v1``."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["NormalizePaths", "normalize_path"]

_SLASHES = re.compile(r"/{2,}")
_VERSION = re.compile(r"^(?:(?:/openai)?(?:/v1)*(?=/(?:embeddings|models)(?:/|$))|(?:/v1)+(?=/rerank$))")
"""Base URLs end in ``/v1``, in ``/openai/v1`` (Azure), or in neither. Some clients add another ``/v1``.
``/rerank`` without ``/v1`` is another interface."""


class NormalizePaths:
    """ASGI middleware that applies :func:`normalize_path` before routing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            scope["path"] = normalize_path(scope["path"])
        await self._app(scope, receive, send)


def normalize_path(path: str) -> str:
    """Remove repeated and trailing slashes. Give paths of OpenAI's interface exactly one ``/v1``."""
    path = _SLASHES.sub("/", path).rstrip("/") or "/"
    return _VERSION.sub("/v1", path)
