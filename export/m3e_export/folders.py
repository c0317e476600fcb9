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
    """Check that files can be written into ``folder``, which need not exist yet.

    Args:
        folder: the folder.
        option: the option that names it, for the message.

    Raises:
        OutputError: the folder is not writable.
    """
    above = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{option}: cannot be written ({above} is a file, or permission is denied).")


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Create ``folder`` and its parents. If the block fails, remove the new ones that are empty.

    Raises:
        OSError: the folder cannot be created.
    """
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in created:  # the innermost first
            with contextlib.suppress(OSError):  # not created, or no longer empty
                each.rmdir()
        raise
