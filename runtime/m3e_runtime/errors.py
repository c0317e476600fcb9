"""Every error that the runtime raises on purpose.

Each carries the process exit code that the command-line tools return for it:
1 an output that cannot be written, 2 usage, 4 unreadable or untrusted input, 5 package, engine or device
missing.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BatchTooLargeError",
    "BundleError",
    "BundleIntegrityError",
    "ClosedError",
    "DependencyMissingError",
    "EngineBuildError",
    "EngineMissingError",
    "EngineRunError",
    "InvalidTextError",
    "M3EError",
    "OptionError",
    "OutputError",
    "OverloadedError",
    "ResumeError",
    "TextTooLongError",
    "UnreadableInputError",
]


class M3EError(Exception):
    """Base of all errors raised by m3e_runtime and m3e_export."""

    exit_code = 1


class OptionError(M3EError, ValueError):
    """An argument has a value that cannot be used; the message lists the ones that can."""

    exit_code = 2


class InvalidTextError(M3EError, TypeError):
    """A text to encode is not a string, or is not valid Unicode (a lone surrogate)."""

    exit_code = 4


class TextTooLongError(M3EError, ValueError):
    """A text has more tokens than the model takes, and was not to be cut."""

    exit_code = 4


class UnreadableInputError(M3EError):
    """A file of texts is missing, cannot be read, or is not what its format says."""

    exit_code = 4


class OutputError(M3EError):
    """An output cannot be written: no permission, no such folder, no room. Nothing half-written is left."""

    exit_code = 1

    @classmethod
    def of(cls, name: Path | str, error: OSError) -> OutputError:
        """The error for the output ``name``, with the system's reason."""
        return cls(f"{name}: cannot be written ({error.strerror or error}).")


class ResumeError(OptionError):
    """An unfinished output was begun by another command, from other input, or is being written by another."""


class BundleError(M3EError):
    """A bundle folder is missing, incomplete, or its manifest is not understood."""

    exit_code = 4


class BundleIntegrityError(BundleError):
    """A file of a bundle differs from what its manifest says, or points outside the folder."""


class DependencyMissingError(M3EError):
    """A package that comes with an extra is not installed; the message names the extra.

    Where it is an engine's, and another engine may run the bundle, it is an :class:`EngineMissingError`.
    """

    exit_code = 5


class EngineMissingError(M3EError):
    """No engine on this machine can run any artifact of the bundle; the message says what to install."""

    exit_code = 5


class EngineBuildError(M3EError):
    """TensorRT cannot build an engine from a graph; the message holds its own words."""

    exit_code = 5


class EngineRunError(M3EError):
    """An engine failed while it ran; the message holds its own words."""

    exit_code = 5


class OverloadedError(M3EError):
    """More is waiting already than may wait.

    Attributes:
        retry_after: seconds after which it is worth to try again, by the present speed.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BatchTooLargeError(M3EError, ValueError):
    """More is to be computed than can be in the time that there is; the message says how much would fit."""


class ClosedError(M3EError):
    """An encoder was closed, and is asked to encode."""
