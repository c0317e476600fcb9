"""Errors of the evaluation, each with the exit code of the command."""

from __future__ import annotations

from m3e_export.errors import M3EError

__all__ = ["DataError", "EvaluationDependencyError"]


class DataError(M3EError):
    """A file or a data set cannot be read as a task; the message names the file and what is wrong."""

    exit_code = 4


class EvaluationDependencyError(M3EError):
    """A package that the evaluation needs is not installed; the message says how to install it."""

    exit_code = 5
