"""The errors that only encoding corpora raises. Their exit codes are those of :mod:`m3e_runtime.errors`."""

from __future__ import annotations

from m3e_runtime.errors import M3EError, OptionError

__all__ = ["ResumeError", "UnreadableInputError"]


class ResumeError(OptionError):
    """An unfinished output belongs to another command or other input, or another process is writing it."""


class UnreadableInputError(M3EError):
    """An input file is missing, unreadable, or not in its format."""

    exit_code = 4
