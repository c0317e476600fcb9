"""Error responses for requests that never reach the application."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from m3e_serve.errors import ApiError, openai_style
from m3e_serve.requests.cors import cors_headers
from m3e_serve.requests.request_id import REQUEST_ID_HEADER, choose_request_id, describe_request
from m3e_serve.service import Service

__all__ = ["EarlyResponse"]

logger = logging.getLogger(__name__)

_ROUTE = "protocol"  # the name of the route in metrics and logs


class EarlyResponse:
    """An error response in HTTP/1.1.

    Args:
        error: the error.
        scope: the ASGI scope of the request, as far as it is known.
        service: its settings and metrics.
    """

    def __init__(self, error: ApiError, scope: Mapping[str, Any], service: Service) -> None:
        self._error = error
        self._scope = scope
        self._service = service
        self._headers = dict(scope.get("headers", ()))
        self._request_id = choose_request_id(self._headers.get(REQUEST_ID_HEADER))

    def encode(self) -> bytes:
        """The bytes to send."""
        status, content = openai_style(self._error)
        body = orjson.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self._request_id.encode()),
            *self._error.headers,
            *cors_headers(self._service.settings.cors_origins, self._headers.get(b"origin")),
        ]
        lines = [
            b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
            *(b": ".join(each) for each in headers),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def record(self) -> None:
        """Count and log the response."""
        error, metrics = self._error, self._service.metrics
        metrics.requests.labels(_ROUTE, str(error.status)).inc()
        if error.status == 503:
            metrics.rejected.labels(error.code).inc()
        if error.status == 503 and not self._service.settings.access_log:
            return  # too many connections would be too many lines
        fields = {
            "request_id": self._request_id,
            "route": _ROUTE,
            "status": error.status,
            "code": error.code,
            "reason": error.message,
            **describe_request(self._scope),
        }
        logger.info("request rejected", extra={"fields": fields})
