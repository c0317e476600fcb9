"""The page at ``/``: one file, which fetches nothing but this service's own answers."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

__all__ = ["PAGE", "PAGE_HEADERS"]

PAGE = files(__name__).joinpath("index.html").read_bytes()


def _hash_of(element: bytes) -> str:
    """The hash by which a policy allows the content of the page's only ``element``."""
    found = re.findall(rb"<%b>(.*?)</%b>" % (element, element), PAGE, re.DOTALL)
    (content,) = found
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src {_hash_of(b'script')}",
        f"style-src {_hash_of(b'style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
PAGE_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]
