"""The errors that the runtime raises.

Each has the exit code that the commands return for it: 1 output cannot be written, 2 usage, 4 unreadable or
untrusted input, 5 package, engine or device missing.
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
    "TextTooLongError",
]


class M3EError(Exception):
    """Base of all errors raised by m3e_runtime and m3e_export."""

    exit_code = 1


class OptionError(M3EError, ValueError):
    """An argument has an invalid value. The message lists the valid ones."""

    exit_code = 2


class InvalidTextError(M3EError, TypeError):
    """A text to encode is not a string, or is not valid Unicode (a lone surrogate)."""

    exit_code = 4


class TextTooLongError(InvalidTextError, ValueError):
    """A text has more tokens than the model takes, and is not to be cut."""

    exit_code = 4


class OutputError(M3EError):
    """An output cannot be written: no permission, no such folder, no space. No partial file is left."""

    exit_code = 1

    @classmethod
    def of(cls, name: Path | str, error: OSError) -> OutputError:
        """The error for the output ``name``, with the system's reason."""
        return cls(f"{name}: cannot be written ({error.strerror or error}).")


class BundleError(M3EError):
    """A bundle folder is missing or incomplete, or its manifest is invalid."""

    exit_code = 4


class BundleIntegrityError(BundleError):
    """A file of a bundle does not match its manifest, or lies outside the folder."""


class DependencyMissingError(M3EError):
    """A package of an extra is not installed. The message names the extra.

    A missing engine, where another engine could run the bundle, is an :class:`EngineMissingError`.
    """

    exit_code = 5


class EngineMissingError(M3EError):
    """No engine on this machine can run an artifact of the bundle. The message says what to install."""

    exit_code = 5


class EngineBuildError(M3EError):
    """TensorRT cannot build an engine from a graph. The message quotes it."""

    exit_code = 5


class EngineRunError(M3EError):
    """An engine failed during a run. The message quotes it."""

    exit_code = 5


class OverloadedError(M3EError):
    """The queue is full.

    Attributes:
        retry_after: seconds after which a retry is likely to succeed at the present speed.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BatchTooLargeError(M3EError, ValueError):
    """A batch cannot be computed within its time limit. The message says how much can."""


class ClosedError(M3EError):
    """The encoder is closed."""

    def __init__(self, message: str = "the encoder is closed; load the bundle again.") -> None:
        super().__init__(message)
