"""Reading the JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from m3e_export.errors import CheckpointError
from m3e_runtime import git_lfs

__all__ = ["read_json", "read_object", "refuse_pointer"]


def refuse_pointer(file: Path) -> None:
    """Reject a pointer of Git LFS, which a clone may have instead of a large file.

    Raises:
        CheckpointError: ``file`` is a pointer.
    """
    if git_lfs.is_pointer(file):
        raise CheckpointError(f"{file}: {git_lfs.HINT}.")


def read_json(file: Path) -> Any:
    """Parse ``file``. A byte order mark is skipped.

    Raises:
        CheckpointError: the file is unreadable or not JSON.
    """
    refuse_pointer(file)
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not valid JSON ({error}).") from error


def read_object(file: Path, *, required: bool = False) -> dict[str, Any]:
    """Parse ``file`` as a JSON object. A missing file is an empty object unless ``required``.

    Raises:
        CheckpointError: the file is missing though required, unreadable, or not an object.
    """
    if not required and not file.exists():
        return {}
    value = read_json(file)
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: a JSON object was expected, found {type(value).__name__}.")
    return value
