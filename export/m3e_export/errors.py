"""Every error that the exporter raises on purpose, each with the exit code of the commands."""

from __future__ import annotations

from m3e_runtime.errors import DependencyMissingError, M3EError, OptionError, OutputError

__all__ = [
    "BelowGateError",
    "CheckpointAccessError",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DependencyMissingError",
    "HubUnreachableError",
    "M3EError",
    "OptionError",
    "OutputError",
    "UnsupportedModelError",
    "UntrustedCheckpointError",
]


class CheckpointError(M3EError):
    """The checkpoint is missing, incomplete or inconsistent; the message names the file or tensor."""

    exit_code = 4


class UntrustedCheckpointError(CheckpointError):
    """The checkpoint holds something that would run code or read outside its folder."""


class UnsupportedModelError(CheckpointError):
    """A model, module, activation or pooling that this exporter does not know."""


class CheckpointNotFoundError(CheckpointError):
    """The hub does not show a checkpoint of that id, or does not have that revision of it."""


class CheckpointAccessError(CheckpointError):
    """The hub refuses the checkpoint to this user: it is private or gated, or the token is wrong."""


class HubUnreachableError(CheckpointError):
    """The hub gives no answer, and the cache does not have the checkpoint."""


class BelowGateError(M3EError):
    """An artifact does not follow the original model closely enough; nothing was written."""

    exit_code = 3
