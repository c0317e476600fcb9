"""Refusals, in the words and shapes of OpenAI's and TEI's interfaces."""

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

__all__ = ["ApiError", "ErrorStyle", "as_api_error", "openai_style", "shutting_down", "tei_style"]

_PATH = re.compile(r" - at `\$\.(\w+)")


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is a refusal.

    Attributes:
        status: HTTP status on OpenAI's routes.
        message: for people; never holds a text that was sent.
        code: OpenAI's code, for programs.
        param: the field at fault.
        tei_type: TEI's name for the kind of error.
        tei_status: HTTP status on TEI's routes, where it is another.
        retry_after: seconds after which to come again.
        retry: false tells OpenAI's clients not to try again of themselves.
        close: whether the connection is to be closed.
        allow: the methods that are possible, as in the header ``Allow``.
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
        """Headers that go with the answer."""
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
"""Gives status and content of the answer."""


def openai_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """``{"error": {"message", "type", "param", "code"}}``."""
    if error.status == 429:
        kind = "requests"  # as OpenAI calls what its rate limits are counted in
    else:
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
    content = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return error.status, {"error": content}


def tei_style(error: ApiError) -> tuple[int, dict[str, Any]]:
    """``{"error", "error_type"}``."""
    return error.tei_status or error.status, {"error": error.message, "error_type": error.tei_type}


def shutting_down() -> ApiError:
    """The refusal of who comes too late."""
    return ApiError(
        503,
        "The service is shutting down.",
        "shutting_down",
        tei_type="Unhealthy",
        retry_after=1,
    )


def as_api_error(error: Exception) -> ApiError | None:
    """The refusal that stands for an error which is the client's fault or foreseen; None for others."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return _invalid(error)
    if isinstance(error, TimeoutError):
        return ApiError(
            503,
            "The request took longer than it may; send fewer texts at a time, or when less is waiting.",
            "timeout",
            tei_type="Unhealthy",
            retry=False,
        )
    if isinstance(error, M3EError):
        return _refused(error)
    return None


def _invalid(error: msgspec.ValidationError) -> ApiError:
    found = _PATH.search(str(error))
    return ApiError(400, f"{error}.", "invalid_value", found[1] if found else None, tei_status=422)


def _refused(error: M3EError) -> ApiError:
    message = str(error)
    if isinstance(error, OverloadedError):
        return ApiError(
            429, message, "rate_limit_exceeded", tei_type="Overloaded", retry_after=error.retry_after
        )
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
