"""Parsing HTTP/1.1 strictly, as RFC 9112 requires."""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from m3e_serve.errors import ApiError

__all__ = ["Http1Protocol"]

_MAX_HEADER_BYTES = 64 << 10
_MAX_CHUNK_OVERHEAD = 16
"""Bytes of chunked encoding for each byte of a body. Chunks of one byte need five."""

_VERSIONS = ("1.0", "1.1")
_TLS_HANDSHAKE = b"\x16\x03"  # the record type and the major version, RFC 8446, section 5.1
_HTTP_2_PREFACE = b"PRI * HTTP/2.0"  # RFC 9113, section 3.4


class Http1Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with stricter parsing.

    * Requests that two servers could interpret differently (request smuggling) are rejected.
    * A server may ignore ``Upgrade`` (RFC 9110, section 7.8), but llhttp stops at it, and the body would be
      lost or parsed as the next request. Such a request is parsed again without the header.
    * Fields after a chunked body (trailers) do not become headers of the request.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.in_headers = False
        self.in_body = False
        self._message_began = False
        self._content = 0
        self._overhead = 0

    def reject(self, error: ApiError) -> None:
        """Respond with ``error`` and ignore everything that follows."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Parse ``data``."""
        self._unset_keepalive_if_required()
        self._message_began, before = False, self._content
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.reject(cause if isinstance(cause, ApiError) else _syntax_error(error, data))
        if self.in_headers or self.in_body:
            self._limit_overhead(len(data) - (self._content - before))

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self.in_headers = self._message_began = True
        self._content = self._overhead = 0

    def on_headers_complete(self) -> None:
        """Accept the request if it is unambiguous.

        Raises:
            ApiError: it is ambiguous or unsupported. The parser stops.
        """
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # it will be parsed again without Upgrade
        self.in_headers = False
        _check_headers(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        if not self.url.startswith(b"/"):
            _check_target(self.url)
        self.on_request()
        self.in_body = True
        self.headers = []  # a new list, for trailers

    def on_request(self) -> None:
        """Pass the request to the application.

        Raises:
            ApiError: the request is rejected.
        """
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless it will be parsed again without Upgrade."""
        if self.in_body:
            self.in_body = False
            super().on_message_complete()

    def _limit_overhead(self, size: int) -> None:
        """Limit the bytes of a request that are not content, which llhttp does not."""
        if not self._message_began:
            self._overhead += size
        elif self.in_headers:  # the first bytes may belong to the previous request
            self._overhead = sum(len(name) + len(value) for name, value in self.headers)
        if self._overhead > _MAX_HEADER_BYTES + _MAX_CHUNK_OVERHEAD * self._content:
            self.reject(ApiError(431, "The headers are too large.", "headers_too_large", close=True))

    def _parse(self, data: memoryview) -> None:
        while (upgrade_at := self._feed(data)) is not None:
            data = data[upgrade_at:]
            head = _head_without_upgrade(self)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self.parser.feed_data(head)

    def _feed(self, data: memoryview) -> int | None:
        """Parse ``data``. Returns the offset at which the parser stopped for an upgrade, or None."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        return None


def _head_without_upgrade(request: Http1Protocol) -> bytes:
    """The request line and headers, without ``Upgrade``."""
    version = request.parser.get_http_version().encode()
    lines = [b"%b %b HTTP/%b" % (request.parser.get_method(), request.url, version)]
    lines += [b"%b: %b" % header for header in request.headers if header[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _check_headers(method: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Reject what llhttp accepts, but servers between client and service may interpret differently."""
    if version not in _VERSIONS:
        raise ApiError(
            505, "The version of HTTP is neither 1.0 nor 1.1.", "http_version_not_supported", close=True
        )
    if method == b"CONNECT":
        raise ApiError(501, "CONNECT is not supported: this is not a proxy.", "invalid_http", close=True)
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise ApiError(
            501,
            "The only supported Transfer-Encoding is chunked, in HTTP/1.1.",
            "invalid_http",
            close=True,
        )
    if sum(name == b"host" for name, _ in headers) > 1:
        raise ApiError(400, "The request has more than one Host header.", "invalid_http", close=True)


def _check_target(url: bytes) -> None:
    """Check that a target with scheme and host, as proxies send it, has a path."""
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        path = None
    if path is None:
        raise ApiError(400, "The request target has no path.", "invalid_http", close=True)


def _syntax_error(error: httptools.HttpParserError, data: bytes) -> ApiError:
    """The error response for ``data`` that is not HTTP/1.1. The parser's messages never quote the data."""
    if data.startswith(_TLS_HANDSHAKE):
        reason = "This is TLS, but the service supports only plain HTTP; use http:// instead of https://."
    elif data.startswith(_HTTP_2_PREFACE):
        reason = "This is HTTP/2, but the service supports only HTTP/1.1."
    else:
        reason = f"This is not valid HTTP: {error}."
    return ApiError(400, reason, "invalid_http", close=True)
