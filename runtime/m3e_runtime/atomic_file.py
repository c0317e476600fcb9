"""The one writer of files that are complete or absent, even if the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from m3e_runtime.errors import OutputError

__all__ = ["TEMPORARY_PREFIX", "atomic_file"]

TEMPORARY_PREFIX = ".m3e-"
"""Start of the names of files that are still being written."""


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``target`` when the block ends without an error.

    Another process reads either the old file or the new one. The content is on the disk before the name
    changes. After an error ``target`` is unchanged and the temporary file is removed.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    # The temporary file lies beside the target because only a rename within a file system is atomic.
    # Path.open gives it the usual permissions; tempfile would make it private.
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError.of(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a new name in ``folder`` survive a power failure, where the system supports that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
