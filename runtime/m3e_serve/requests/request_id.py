"""The ID of a request, and its description in logs."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Mapping
from typing import Any

__all__ = ["REQUEST_ID_HEADER", "choose_request_id", "describe_request"]

REQUEST_ID_HEADER = b"x-request-id"
_VALID = re.compile(rb"[!-~]{1,128}")  # printable ASCII, short enough for a log line
_PROCESS_ID = secrets.token_hex(6)
_numbers = itertools.count(1)  # asking the system for random bytes each time would cost a thread switch
_MAX_PATH = 256


def choose_request_id(given: bytes | None) -> str:
    """The client's ``X-Request-ID`` if it is short and printable, else a new ID."""
    if given is not None and _VALID.fullmatch(given):
        return given.decode()
    return f"{_PROCESS_ID}-{next(_numbers)}"


def describe_request(scope: Mapping[str, Any]) -> dict[str, str | None]:
    """Method, path without the query, and address of the client, which is None on a Unix socket."""
    client = scope.get("client")
    return {
        "method": scope.get("method"),
        "path": scope.get("path", "")[:_MAX_PATH] or None,
        "peer": f"{client[0]}:{client[1]}" if client else None,
    }
