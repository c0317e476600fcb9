"""API keys."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from m3e_runtime.errors import OptionError
from m3e_serve.errors import ApiError

__all__ = ["KEY_VARIABLE", "check_key", "read_keys"]

KEY_VARIABLE = "M3E_API_KEY"
_BEARER = b"bearer "


def read_keys(file: str | None, environment: Mapping[str, str] = os.environ) -> tuple[bytes, ...]:
    """SHA-256 digests of the keys in ``file`` and in the variable :data:`KEY_VARIABLE`.

    The file has one key per line. Lines that start with ``#`` are comments.

    Raises:
        OptionError: the file cannot be read, or has no key.
    """
    keys = [key] if (key := environment.get(KEY_VARIABLE, "").strip()) else []
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").splitlines()  # editors on Windows write a BOM
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--api-key-file {file}: not readable ({error}).") from error
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise OptionError(f"--api-key-file {file}: the file has no key; write one key per line.")
        keys += found
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def check_key(digests: tuple[bytes, ...], headers: Mapping[bytes, bytes]) -> None:
    """Check the key of a request, in constant time.

    Clients send the key in ``Authorization``, or in ``api-key`` as Azure's clients do.

    Raises:
        ApiError: 401, the key is missing or incorrect.
    """
    if not digests:
        return
    sent = _sent_keys(headers)
    if not sent:
        raise ApiError(401, "You didn't provide an API key. Send it as `Authorization: Bearer KEY`.")
    found = [hashlib.sha256(key).digest() for key in sent]
    matches = [hmac.compare_digest(each, digest) for each in found for digest in digests]
    if not any(matches):
        raise ApiError(401, "Incorrect API key provided.", "invalid_api_key")


def _sent_keys(headers: Mapping[bytes, bytes]) -> list[bytes]:
    keys = [headers[b"api-key"].strip()] if b"api-key" in headers else []
    authorization = headers.get(b"authorization", b"")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        keys.append(authorization[len(_BEARER) :].strip())
    return keys
