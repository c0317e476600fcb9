"""Requests of HTTP/1.1, taken from the bytes of a connection as RFC 9112 has them."""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from m3e_serve.errors import ApiError

__all__ = ["Http1Protocol"]

_MOST_HEADER_BYTES = 64 << 10
_CHUNK_BYTES = 16
"""Bytes around each byte of a chunked body. Chunks of one byte need five; more is not worth reading."""

_VERSIONS = ("1.0", "1.1")
_TLS_HANDSHAKE = b"\x16\x03"  # the record type and the major version, RFC 8446, section 5.1
_HTTP_2_PREFACE = b"PRI * HTTP/2.0"  # RFC 9113, section 3.4


class Http1Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to what its parser lets pass.

    An ``Upgrade`` is an offer that a server may pass over (RFC 9110, section 7.8). llhttp stops at it: the
    body would be lost, or be read as the next request. Here such a request is parsed a second time without
    the offer. Fields after a chunked body are no headers of the request. What two servers could understand
    differently is refused.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.in_headers = False
        self.in_body = False
        self._begun = False
        self._content = 0
        self._overhead = 0

    def refuse(self, error: ApiError) -> None:
        """What came cannot be served; nothing that follows is to be looked at."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Parse ``data``."""
        self._unset_keepalive_if_required()
        self._begun, before = False, self._content
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.refuse(cause if isinstance(cause, ApiError) else _fault(error, data))
        if self.in_headers or self.in_body:
            self._bound_overhead(len(data) - (self._content - before))

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self.in_headers = self._begun = True
        self._content = self._overhead = 0

    def on_headers_complete(self) -> None:
        """Let the request in, if there is one way to understand it.

        Raises:
            ApiError: there are several, or none; the parser stops.
        """
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # it comes again without the offer
        self.in_headers = False
        _check(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        if not self.url.startswith(b"/"):
            _check_target(self.url)
        self.on_request()
        self.in_body = True
        self.headers = []  # fields after the body (trailers) are none of the request

    def on_request(self) -> None:
        """Hand the request to the application.

        Raises:
            ApiError: it is not let in.
        """
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of the request, unless it comes again without its offer."""
        if self.in_body:
            self.in_body = False
            super().on_message_complete()

    def _bound_overhead(self, size: int) -> None:
        if not self._begun:
            self._overhead += size
        elif self.in_headers:  # the first of the bytes may belong to the request before
            self._overhead = sum(len(name) + len(value) for name, value in self.headers)
        if self._overhead > _MOST_HEADER_BYTES + _CHUNK_BYTES * self._content:
            self.refuse(ApiError(431, "The headers are too large.", "headers_too_large", close=True))

    def _parse(self, data: memoryview) -> None:
        while (offered_at := self._feed(data)) is not None:
            data = data[offered_at:]
            head = _without_offer(self)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self.parser.feed_data(head)

    def _feed(self, data: memoryview) -> int | None:
        """Where the parser stopped at an offer to upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return int(offer.args[0])
        return None


def _without_offer(request: Http1Protocol) -> bytes:
    """The request's line and headers, less ``Upgrade``."""
    version = request.parser.get_http_version().encode()
    lines = [b"%b %b HTTP/%b" % (request.parser.get_method(), request.url, version)]
    lines += [b"%b: %b" % header for header in request.headers if header[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _check(method: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """What llhttp lets pass, and other servers in the way of a request may understand differently."""
    if version not in _VERSIONS:
        raise ApiError(
            505, "The version of HTTP is neither 1.0 nor 1.1.", "http_version_not_supported", close=True
        )
    if method == b"CONNECT":
        raise ApiError(501, "CONNECT is not possible: this is no proxy.", "invalid_http", close=True)
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise ApiError(
            501, "The only Transfer-Encoding is chunked, and HTTP 1.0 has none.", "invalid_http", close=True
        )
    if sum(name == b"host" for name, _ in headers) > 1:
        raise ApiError(400, "There is more than one Host.", "invalid_http", close=True)


def _check_target(url: bytes) -> None:
    """Proxies may name a host before the path."""
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        path = None
    if path is None:
        raise ApiError(400, "The request target has no path.", "invalid_http", close=True)


def _fault(error: httptools.HttpParserError, data: bytes) -> ApiError:
    """What is wrong with ``data``, as far as the parser knows; its reasons are fixed sentences."""
    if data.startswith(_TLS_HANDSHAKE):
        reason = "This is TLS, and the service speaks plain HTTP; use http:// in place of https://."
    elif data.startswith(_HTTP_2_PREFACE):
        reason = "This is HTTP/2, and the service speaks the first version."
    else:
        reason = f"This is not valid HTTP: {error}."
    return ApiError(400, reason, "invalid_http", close=True)
