"""The errors of m3e_eval, each with the exit code of the command."""

from __future__ import annotations

from m3e_runtime.errors import DependencyMissingError, M3EError

__all__ = ["DataError", "DependencyMissingError"]


class DataError(M3EError):
    """A file or a data set is not a valid task; the message names the file and the reason."""

    exit_code = 4
