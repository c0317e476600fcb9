"""The errors of m3e_export, each with the exit code of the commands."""

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
    """The checkpoint would run code or read files outside its folder."""


class UnsupportedModelError(CheckpointError):
    """The model, a module, an activation or a pooling is not supported."""


class CheckpointNotFoundError(CheckpointError):
    """The hub has no checkpoint of this id or revision, or does not show it."""


class CheckpointAccessError(CheckpointError):
    """The hub denies access: the checkpoint is private or gated, or the token is wrong."""


class HubUnreachableError(CheckpointError):
    """The hub cannot be reached, and the checkpoint is not in the cache."""


class BelowGateError(M3EError):
    """An artifact does not pass the gate. Nothing was written."""

    exit_code = 3
