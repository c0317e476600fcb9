"""API keys."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from m3e_runtime.errors import OptionError
from m3e_runtime.serve.errors import ApiError

__all__ = ["KEY_VARIABLE", "check_key", "read_keys"]

KEY_VARIABLE = "M3E_API_KEY"
_BEARER = b"bearer "


def read_keys(file: str | None, environment: Mapping[str, str] = os.environ) -> tuple[bytes, ...]:
    """SHA-256 of each key: one a line of ``file`` (``#`` begins a comment), and :data:`KEY_VARIABLE`.

    Raises:
        OptionError: the file cannot be read, or has no key.
    """
    keys = [key] if (key := environment.get(KEY_VARIABLE, "").strip()) else []
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--api-key-file {file}: not readable ({error}).") from error
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise OptionError(f"--api-key-file {file}: no key in it; write one a line.")
        keys += found
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def check_key(digests: tuple[bytes, ...], authorization: bytes | None) -> None:
    """Compare the key of a request with all keys, in a time that tells nothing of them.

    Raises:
        ApiError: 401, no key or another.
    """
    if not digests:
        return
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        raise ApiError(401, "You didn't provide an API key. Send it as `Authorization: Bearer KEY`.")
    digest = hashlib.sha256(authorization[len(_BEARER) :].strip()).digest()
    matches = [hmac.compare_digest(digest, each) for each in digests]
    if not any(matches):
        raise ApiError(401, "Incorrect API key provided.", "invalid_api_key")
