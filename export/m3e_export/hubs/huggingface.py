"""The Hugging Face hub, or the mirror in ``HF_ENDPOINT``, through huggingface-hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from m3e_export.errors import (
    CheckpointAccessError,
    CheckpointError,
    CheckpointNotFoundError,
)
from m3e_export.hubs.hub import Hub, Snapshot, reason
from m3e_export.hubs.wanted import DATA, IGNORED, check_paths, patterns
from m3e_runtime.extras import extra_packages

__all__ = ["HuggingFace"]

# Status codes of HTTP.
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _SERVER_ERRORS = 401, 403, 429, 500
_TRANSPORTS = {"httpcore", "httpx", "httpx2", "requests", "urllib3"}
"""Packages whose errors are network errors. Versions of huggingface-hub use different ones."""


class HuggingFace(Hub):
    """The Hugging Face hub.

    Its client reads ``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE``.
    """

    title: ClassVar[str] = "the Hugging Face hub"
    others: ClassVar[str] = "a mirror (HF_ENDPOINT=<address of the mirror>), another hub (--hub modelscope)"

    def __init__(self) -> None:
        """Import the client.

        Raises:
            DependencyMissingError: huggingface-hub is not installed.
        """
        with extra_packages("downloading from the Hugging Face hub", "export", "huggingface_hub"):
            import huggingface_hub
        self._client = huggingface_hub

    @property
    def address(self) -> str:
        """The address of the hub, or of the mirror."""
        return str(self._client.constants.ENDPOINT)

    def _download(self, hub_id: str, revision: str | None) -> Snapshot:
        api = self._client.HfApi()
        with _logged_once():
            names = api.list_repo_files(hub_id, revision=revision)
            check_paths(hub_id, names)
            folder = self._client.snapshot_download(
                hub_id, revision=revision, allow_patterns=patterns(names), ignore_patterns=IGNORED
            )
        return _snapshot(folder)

    def _cached(self, hub_id: str, revision: str | None) -> Snapshot | None:
        try:
            # The patterns are necessary: the client rejects a snapshot that lacks other files.
            folder = self._client.snapshot_download(
                hub_id,
                revision=revision,
                local_files_only=True,
                allow_patterns=DATA,
                ignore_patterns=IGNORED,
            )
            return _snapshot(folder)
        except Exception:  # not in the cache
            return None

    def _told(self, hub_id: str, revision: str | None, error: Exception) -> CheckpointError:
        from huggingface_hub.utils import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        where = f"{self.title} ({self.address})"
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, GatedRepoError):
            return CheckpointAccessError(
                f"{hub_id}: gated on {where}. Accept its conditions on its page there, then log in with "
                "`hf auth login` or set HF_TOKEN."
            )
        if isinstance(error, RevisionNotFoundError):
            return CheckpointNotFoundError(f"{hub_id}: {where} has no revision {revision!r} of it.")
        if isinstance(error, RepositoryNotFoundError):
            return CheckpointNotFoundError(f"{hub_id}: {where} does not show it. {self._hidden()}")
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return CheckpointAccessError(
                f"{hub_id}: {where} refuses access ({reason(error)}). Check HF_TOKEN, or log in again with "
                "`hf auth login`."
            )
        return self._unreachable(hub_id, error) if _is_outage(error, status) else self._failed(hub_id, error)

    def _hidden(self) -> str:
        """A hint: the hub gives the same answer for private and for missing repositories."""
        if self._client.get_token():
            return "Check the name; or it is private, and the account of this token may not see it."
        return "Check the name; or it is private, so log in with `hf auth login` or set HF_TOKEN."


@contextmanager
def _logged_once() -> Iterator[None]:
    """Do not pass the client's messages to the root logger: the client prints them itself."""
    log = logging.getLogger("huggingface_hub")
    before = log.propagate
    log.propagate = before and not log.handlers
    try:
        yield
    finally:
        log.propagate = before


def _snapshot(folder: str) -> Snapshot:
    """The snapshot in ``folder``, whose name is the commit."""
    return Snapshot(Path(folder), Path(folder).name)


def _is_outage(error: Exception, status: int | None) -> bool:
    """Whether the cache may be used: the hub does not answer, or asks to retry later."""
    if status is not None:
        return status == _TOO_MANY or status >= _SERVER_ERRORS
    from huggingface_hub.utils import LocalEntryNotFoundError

    packages = {each.__module__.partition(".")[0] for each in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError, LocalEntryNotFoundError)) or bool(
        packages & _TRANSPORTS
    )
