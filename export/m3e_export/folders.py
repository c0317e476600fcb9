"""Folders for outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_export.errors import OutputError

__all__ = ["check_writable", "made_folder"]


def check_writable(folder: Path, option: str) -> None:
    """Find out whether files can be put into ``folder``, which need not be there yet.

    Args:
        folder: where they are to go.
        option: what the user gave, for the error.

    Raises:
        OutputError: they cannot.
    """
    above = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{option}: cannot be written ({above} is a file, or without permission).")


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
