"""What the handler of a route receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from m3e_runtime.scheduling import Priority
from m3e_serve.errors import ApiError

__all__ = ["Call"]

_PRIORITY_HEADER = b"m3e-priority"
_PRIORITIES = {name.encode(): name for name in get_args(Priority)}


@dataclass(slots=True)
class Call:
    """A request, and what the handler reports for logs and traces.

    Attributes:
        headers: headers of the request, with names in lower case.
        path: parameters of the path.
        body: the body, decompressed.
        reserved: bytes reserved for the body, see :class:`m3e_serve.admission.Admission`.
        model: name of the model, set by the handler.
        texts: number of texts, or of pairs of a query and a text, set by the handler.
        tokens: number of tokens, set by the handler.
        truncated: number of texts, or of pairs, that were truncated, set by the handler. The response has it
            in the header ``M3E-Truncated``.
    """

    headers: dict[bytes, bytes]
    path: dict[str, Any]
    body: bytes = b""
    reserved: int = 0
    model: str | None = None
    texts: int = 0
    tokens: int = 0
    truncated: int = 0

    def priority(self, texts: int, default: Priority | None = None) -> Priority:
        """The header ``M3E-Priority``, or ``default``: one text is a query, and several texts are documents.

        Raises:
            ApiError: 400, the header has another value.
        """
        self.texts = texts
        value = self.headers.get(_PRIORITY_HEADER)
        if value is None:
            return default or ("query" if texts == 1 else "document")
        priority: Priority | None = _PRIORITIES.get(value.lower())
        if priority is None:
            raise ApiError(400, "The header M3E-Priority must be query or document.", "invalid_value")
        return priority
