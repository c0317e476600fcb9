"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from m3e_runtime.errors import M3EError, OutputError

__all__ = ["TEMPORARY", "unwritable", "whole_file"]

TEMPORARY = ".m3e-"
"""How the names of files begin that are not whole yet."""


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes the place of ``target`` when the block ends without error.

    Raises:
        OutputError: it cannot be written, for example because the disk is full.
    """
    # Made by open, not by tempfile, for the usual permissions; beside the target, for an atomic replace.
    temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(name: Path | str, error: OSError) -> M3EError:
    """What to say when an output cannot be written."""
    return OutputError.of(name, error)


def _sync_folder(folder: Path) -> None:
    """Make a new name in ``folder`` outlast a power failure, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
