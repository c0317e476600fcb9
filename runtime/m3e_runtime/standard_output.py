"""Writing to standard output, which may have no reader or no room."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["discard", "flush", "say"]


def say(text: str) -> None:
    """Print ``text``. A reader that has closed the pipe, as in ``| head -1``, is not an error.

    Raises:
        OSError: writing fails for another reason.
    """
    try:
        if sys.stdout is not None:  # as in a program without a console
            sys.stdout.write(f"{text}\n")
    except BrokenPipeError:
        discard()
    flush()


def flush() -> None:
    """Flush the buffer now. At exit an error would be reported as a traceback.

    Raises:
        OSError: writing fails for another reason than a closed pipe.
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
    """Discard further output: Python flushes once more at exit, which must not fail again."""
    with contextlib.suppress(OSError, ValueError):  # a replaced stream may have no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
