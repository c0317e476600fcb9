"""A lock that one process at a time can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_corpora.errors import ResumeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked"]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Lock ``file`` for the block. The system releases the lock when the process ends for any reason.

    Raises:
        ResumeError: another process holds the lock.
    """
    with file.open("wb") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ResumeError(f"{file.parent.parent}: another process is writing it.") from error
            except OSError:  # the file system does not support locks
                pass
        yield
