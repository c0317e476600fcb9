"""Error responses: the errors of the API, in the formats of OpenAI and TEI."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from m3e_runtime.errors import (
    BatchTooLargeError,
    ClosedError,
    EngineRunError,
    InvalidTextError,
    M3EError,
    OptionError,
    OverloadedError,
    TextTooLongError,
)

__all__ = [
    "ApiError",
    "ErrorStyle",
    "as_api_error",
    "openai_style",
    "shutting_down",
    "tei_style",
    "too_many_connections",
    "too_many_requests",
]

_PATH = re.compile(r" - at `\$\.(\w+)")


@dataclass(eq=False)
class ApiError(Exception):
    """An error response.

    Attributes:
        status: HTTP status on OpenAI's routes.
        message: the message for people. It never quotes a text of the request.
        code: OpenAI's machine-readable code.
        param: the field with the error.
        tei_type: TEI's ``error_type``.
        tei_status: HTTP status on TEI's routes, if it differs from ``status``.
        retry_after: seconds after which the client may retry.
        retry: false tells OpenAI's clients not to retry.
        close: whether to close the connection.
        allow: the value of the header ``Allow``.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    tei_type: str = "Validation"
    tei_status: int | None = None
    retry_after: float | None = None
    retry: bool = True
    close: bool = False
    allow: str | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the response."""
        headers: list[tuple[bytes, bytes]] = []
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after))))
        if not self.retry:
            headers.append((b"x-should-retry", b"false"))
        if self.close:
            headers.append((b"connection", b"close"))
        if self.allow is not None:
            headers.append((b"allow", self.allow.encode()))
        return headers


ErrorStyle = Callable[[ApiError], tuple[int, dict[str, Any]]]
"""Returns status and content of the response."""


def openai_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """OpenAI's format: ``{"error": {"message", "type", "param", "code"}}``."""
    if error.status == 429:
        kind = "requests"  # OpenAI's type for a rate limit of requests
    else:
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
    content = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return error.status, {"error": content}


def tei_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """TEI's format: ``{"error", "error_type"}``."""
    return error.tei_status or error.status, {"error": error.message, "error_type": error.tei_type}


def too_many_requests(message: str, retry_after: float | None, close: bool = False) -> ApiError:
    """429, for requests beyond a limit of the service."""
    return ApiError(
        429,
        message,
        "rate_limit_exceeded",
        tei_type="Overloaded",
        retry_after=retry_after,
        close=close,
    )


def too_many_connections() -> ApiError:
    """503, for connections beyond the limit."""
    return ApiError(503, "There are too many connections.", "too_many_connections", retry_after=1, close=True)


def shutting_down() -> ApiError:
    """503, for requests that arrive while the service drains."""
    return ApiError(
        503,
        "The service is shutting down.",
        "shutting_down",
        tei_type="Unhealthy",
        retry_after=1,
    )


def as_api_error(error: Exception) -> ApiError | None:
    """The error response for an expected exception. None for unexpected ones."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return _validation_error(error)
    if isinstance(error, TimeoutError):
        return ApiError(
            503,
            "The request exceeded the timeout; send fewer texts at a time, or retry when less is waiting.",
            "timeout",
            tei_type="Unhealthy",
            retry=False,
        )
    if isinstance(error, M3EError):
        return _from_runtime(error)
    return None


def _validation_error(error: msgspec.ValidationError) -> ApiError:
    found = _PATH.search(str(error))
    return ApiError(400, f"{error}.", "invalid_value", found[1] if found else None, tei_status=422)


def _from_runtime(error: M3EError) -> ApiError:
    message = str(error)
    if isinstance(error, OverloadedError):
        return too_many_requests(message, error.retry_after)
    if isinstance(error, BatchTooLargeError):
        return ApiError(413, message, "batch_too_large", "input")
    if isinstance(error, TextTooLongError):
        return ApiError(400, message, "context_length_exceeded", "input", tei_status=413)
    if isinstance(error, InvalidTextError):
        return ApiError(400, message, "invalid_value", "input", "Tokenizer", 422)
    if isinstance(error, OptionError):
        return ApiError(400, message, "invalid_value", tei_status=422)
    if isinstance(error, ClosedError):
        return shutting_down()
    if isinstance(error, EngineRunError):
        return ApiError(500, "The engine failed.", "engine_failed", tei_type="Backend", tei_status=424)
    return ApiError(500, "The service failed.", tei_type="Backend", tei_status=424)
