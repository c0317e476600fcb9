"""Folders for outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["made_folder"]


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` and those above it; where the block fails, those that are empty are removed again.

    Raises:
        OSError: it cannot be made.
    """
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in created:  # the innermost first
            with contextlib.suppress(OSError):  # not made yet, or somebody put something there
                each.rmdir()
        raise
