"""What is known of a request before it is read: the name it goes by, and where it comes from."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Mapping
from typing import Any

__all__ = ["REQUEST_ID_HEADER", "origin", "request_id"]

REQUEST_ID_HEADER = b"x-request-id"
_SANE = re.compile(rb"[!-~]{1,128}")  # printable ASCII, and no longer than it may be in a line of a log
_PROCESS_ID = secrets.token_hex(6)
_numbers = itertools.count(1)  # asking the system for randomness each time would cost a thread switch
_MOST_PATH = 256


def request_id(given: bytes | None) -> str:
    """The caller's ``X-Request-ID`` where it is short and printable; else one of ours."""
    if given is not None and _SANE.fullmatch(given):
        return given.decode()
    return f"{_PROCESS_ID}-{next(_numbers)}"


def origin(scope: Mapping[str, Any]) -> dict[str, str | None]:
    """Method, path without its query, and address of the client, which a Unix socket has not."""
    client = scope.get("client")
    return {
        "method": scope.get("method"),
        "path": scope.get("path", "")[:_MOST_PATH] or None,
        "peer": f"{client[0]}:{client[1]}" if client else None,
    }
