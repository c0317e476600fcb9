"""The interface of a hub: download a checkpoint, or use the cache if the hub cannot be reached."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from m3e_export.errors import CheckpointError, HubUnreachableError

__all__ = ["Hub", "Snapshot", "reason"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint in the cache of a hub: its folder and its revision, a commit if that is known."""

    folder: Path
    revision: str


class Hub(ABC):
    """A hub, through its own client library."""

    title: ClassVar[str]
    """The hub's name in messages."""

    others: ClassVar[str]
    """What messages suggest when the hub cannot be reached."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The address of the hub, or of the mirror in use."""

    def snapshot(self, hub_id: str, revision: str | None) -> Snapshot:
        """Download the files of ``hub_id`` that an export needs.

        If the hub cannot be reached, the copy in the cache is used, with a warning.

        Raises:
            CheckpointAccessError: the checkpoint is gated, or the token is rejected.
            CheckpointNotFoundError: the hub does not have the checkpoint or the revision.
            HubUnreachableError: the hub cannot be reached, and the cache has no copy.
            CheckpointError: the download failed for another reason.
        """
        try:
            return self._download(hub_id, revision)
        except CheckpointError:
            raise
        except Exception as error:  # network, authorization and cache errors share no base class
            told = self._told(hub_id, revision, error)
            cached = self._cached(hub_id, revision) if isinstance(told, HubUnreachableError) else None
            if cached is None:
                raise told from error
            logger.warning("%s: using the copy in the cache, because %s.", hub_id, self._no_answer(error))
            return cached

    @abstractmethod
    def _download(self, hub_id: str, revision: str | None) -> Snapshot:
        """Download the checkpoint. Errors are those of the client."""

    @abstractmethod
    def _cached(self, hub_id: str, revision: str | None) -> Snapshot | None:
        """The copy in the cache, or None. It makes no request."""

    @abstractmethod
    def _told(self, hub_id: str, revision: str | None, error: Exception) -> CheckpointError:
        """The CheckpointError for an ``error`` of the client."""

    def _unreachable(self, hub_id: str, error: Exception) -> HubUnreachableError:
        return HubUnreachableError(
            f"{hub_id}: {self._no_answer(error)}, and the cache has no copy. Use {self.others}, or give a "
            "local folder."
        )

    def _failed(self, hub_id: str, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{hub_id}: the download from {self.title} ({self.address}) failed ({reason(error)})."
        )

    def _no_answer(self, error: Exception) -> str:
        return f"{self.title} ({self.address}) cannot be reached ({reason(_root(error))})"


def reason(error: BaseException) -> str:
    """The first line of the message of ``error``."""
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _root(error: BaseException) -> BaseException:
    """The innermost error. Clients wrap it in errors that repeat the whole request."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
