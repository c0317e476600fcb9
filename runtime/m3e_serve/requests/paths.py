"""Paths as clients write them: with slashes too many, with a version too many or none."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["TidyPaths", "tidy"]

_SLASHES = re.compile(r"/{2,}")
_VERSION = re.compile(r"^(?:/openai)?(?:/v1)*(?=/(?:embeddings|models)(?:/|$))")
"""Base URLs end in nothing, in ``/v1``, or as Azure's in ``/openai/v1``; some clients add another ``/v1``."""


class TidyPaths:
    """Middleware: routes are found under :func:`tidy` paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request."""
        if scope["type"] == "http":
            scope["path"] = tidy(scope["path"])
        await self._app(scope, receive, send)


def tidy(path: str) -> str:
    """``path`` without doubled slashes and one at its end, and with the one version of OpenAI's interface."""
    path = _SLASHES.sub("/", path).rstrip("/") or "/"
    return _VERSION.sub("/v1", path)
