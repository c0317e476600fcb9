"""Files that are expensive to make on this machine, such as TensorRT engines, kept for the next time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import platformdirs

from m3e_runtime.atomic_file import atomic_file
from m3e_runtime.errors import OutputError

__all__ = ["CacheEntry", "cache_folder", "keep_file"]

logger = logging.getLogger(__name__)

_DIGEST = 32  # bytes of a SHA-256


def cache_folder() -> Path:
    """``M3E_CACHE``, or else ``m3e-runtime`` in the user's cache folder."""
    return Path(os.environ.get("M3E_CACHE") or platformdirs.user_cache_path("m3e-runtime"))


class CacheEntry:
    """A file named by a hash of all that its content depends on. It starts with the content's SHA-256."""

    def __init__(self, kind: str, depends_on: dict[str, str]) -> None:
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        self.path = cache_folder() / kind / f"{key[:32]}.bin"

    def read(self) -> bytes | None:
        """The content; None if there is none, or it is damaged."""
        try:
            stored = self.path.read_bytes()
        except OSError:
            return None
        digest, content = stored[:_DIGEST], stored[_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            logger.warning("%s is damaged and will be made again.", self.path)
            return None
        return content

    def write(self, content: bytes) -> None:
        """Store ``content``. A failure is logged as a warning; the content is made again next time."""
        keep_file(self.path, hashlib.sha256(content).digest() + content)


def keep_file(path: Path, content: bytes) -> None:
    """Write a file that may be lost: it is complete or absent, and a failure is only a warning."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_file(path) as stream:
            stream.write(content)
    except (OSError, OutputError) as error:
        logger.warning("A file cannot be kept for the next time. %s", error)
