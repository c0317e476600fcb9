"""One process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_runtime.errors import ResumeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked"]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold ``file`` for the block. The system lets go of it when the process ends, however it ends.

    Raises:
        ResumeError: another process holds it.
    """
    with file.open("wb") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ResumeError(f"{file.parent.parent}: another process is writing it.") from error
            except OSError:  # a file system without locks
                pass
        yield
