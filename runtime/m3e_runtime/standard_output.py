"""Standard output that nobody reads, or that has no room."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["discard", "flush", "say"]


def say(text: str) -> None:
    """Print ``text``. A reader that has gone away, as in ``| head -1``, is no error.

    Raises:
        OSError: it cannot be written for another reason.
    """
    try:
        if sys.stdout is not None:  # as in a program without a console
            sys.stdout.write(f"{text}\n")
    except BrokenPipeError:
        discard()
    flush()


def flush() -> None:
    """Write what is buffered, here and not at exit, where an error would be reported as a traceback.

    Raises:
        OSError: it cannot be written, and the reader has not just gone away.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard()
    except OSError:
        discard()
        raise


def discard() -> None:
    """Send what follows to nowhere: Python flushes once more at exit, and that must not fail again."""
    with contextlib.suppress(OSError, ValueError):  # a replaced stream may have no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
