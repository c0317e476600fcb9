"""What has been made for this machine's GPU is kept, so that it is made once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

import platformdirs

__all__ = ["CacheEntry", "cache_folder", "write_whole"]

logger = logging.getLogger(__name__)

_DIGEST = 32  # bytes of a SHA-256


def cache_folder() -> Path:
    """``M3E_CACHE``, or else ``m3e-runtime`` in the user's cache folder."""
    return Path(os.environ.get("M3E_CACHE") or platformdirs.user_cache_path("m3e-runtime"))


class CacheEntry:
    """A file named after all that its content depends on; it begins with the SHA-256 of the rest."""

    def __init__(self, kind: str, depends_on: dict[str, str]) -> None:
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        self.path = cache_folder() / kind / f"{key[:32]}.bin"

    def read(self) -> bytes | None:
        """The content; None when there is none, or it is not what was written."""
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
        """Keep ``content``; where that is not possible a warning says so, and it is made again next time."""
        try:
            write_whole(self.path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            logger.warning("%s cannot be kept for the next time: %s.", self.path, error.strerror)


def write_whole(path: Path, content: bytes) -> None:
    """Write beside and rename: another process reads the old or the new, whole.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
