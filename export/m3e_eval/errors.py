"""Errors of the evaluation, each with the exit code of the command."""

from __future__ import annotations

from m3e_runtime.errors import DependencyMissingError, M3EError

__all__ = ["DataError", "DependencyMissingError"]


class DataError(M3EError):
    """A file or a data set cannot be read as a task; the message names the file and what is wrong."""

    exit_code = 4
