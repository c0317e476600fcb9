"""The page at ``/`` and its files. The page fetches from this service only."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from m3e_serve.errors import ApiError
from m3e_serve.requests.call import Call
from m3e_serve.requests.response import Response

__all__ = ["index", "page_file"]

_INDEX = "index.html"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}


@dataclass(frozen=True)
class _PageFile:
    """A file of the page, with its response headers."""

    content: bytes
    content_type: bytes
    etag: bytes
    headers: list[tuple[bytes, bytes]]


async def index(call: Call) -> Response:
    """Respond to ``GET /``."""
    return _response(_FILES[_INDEX], call)


async def page_file(call: Call) -> Response:
    """Respond to ``GET /page/{name}``: a file that the page refers to.

    Raises:
        ApiError: 404, there is no such file.
    """
    name = call.path["name"]
    if name == _INDEX or name not in _FILES:
        raise ApiError(404, "The path does not exist.", "not_found")
    return _response(_FILES[name], call)


def _response(file: _PageFile, call: Call) -> Response:
    if _is_current(file, call.headers):
        return Response(b"", status=304, content_type=file.content_type, headers=file.headers)
    return Response(file.content, content_type=file.content_type, headers=file.headers)


def _is_current(file: _PageFile, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a client with these request headers has the current ``file``.

    The comparison of tags is weak (RFC 9110, section 13.1.2), because proxies that compress make them weak.
    """
    known = [tag.strip().removeprefix(b"W/") for tag in headers.get(b"if-none-match", b"").split(b",")]
    return file.etag in known or b"*" in known


def _read() -> dict[str, _PageFile]:
    found = [file for file in files(__name__).iterdir() if file.name.endswith(tuple(_TYPES))]
    return {file.name: _page_file(file.name, file.read_bytes()) for file in found}


def _page_file(name: str, content: bytes) -> _PageFile:
    etag = b'"%b"' % hashlib.sha256(content).hexdigest()[:32].encode()
    headers = [
        (b"etag", etag),
        (b"cache-control", b"no-cache"),  # cache it, but revalidate it each time
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if name == _INDEX:
        headers.append((b"content-security-policy", _policy(content)))
    return _PageFile(content, _TYPES["." + name.rpartition(".")[2]], etag, headers)


def _policy(index: bytes) -> bytes:
    """Allows the page's files, its one inline script, and requests to this service. Nothing else."""
    (script,) = re.findall(rb"<script>(.*?)</script>", index, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest())
    return b"; ".join(
        [
            b"default-src 'none'",
            b"script-src 'self' 'sha256-%b'" % digest,
            b"style-src 'self'",
            b"connect-src 'self'",
            b"img-src data:",
            b"base-uri 'none'",
            b"form-action 'none'",
            b"frame-ancestors 'none'",
        ]
    )


_FILES = _read()
