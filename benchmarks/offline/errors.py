"""What can go wrong with the parts of a pack. Each error has the exit code of the command that raises it."""

from __future__ import annotations

__all__ = ["DamagedError", "OfflineError", "PackError", "PackIndexError", "SizeError"]


class OfflineError(Exception):
    """Base of all errors of this package."""

    exit_code = 1


class PackError(OfflineError):
    """A wheel cannot be packed, or there is no place to put its parts. The message says why."""

    exit_code = 2


class SizeError(PackError):
    """No part would fit beside the tree, or a part became too large."""


class PackIndexError(OfflineError):
    """The index is missing, damaged, or of another pack than the one that is being joined."""

    exit_code = 4


class DamagedError(OfflineError):
    """A part or a joined file has another size or another digest than the index says."""

    exit_code = 4
