"""ModelScope through its client library modelscope-hub, which the package modelscope uses too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from m3e_export.errors import (
    CheckpointAccessError,
    CheckpointError,
    CheckpointNotFoundError,
)
from m3e_export.hubs.hub import Hub, Snapshot, reason
from m3e_export.hubs.wanted import check_paths, is_wanted, patterns
from m3e_runtime.extras import extra_packages

__all__ = ["ModelScope"]

_MODEL = "model"
_DEFAULT_REVISION = "master"


class ModelScope(Hub):
    """ModelScope's hub.

    Its client reads ``MODELSCOPE_ENDPOINT``, ``MODELSCOPE_CACHE`` and ``MODELSCOPE_API_TOKEN``.
    """

    title: ClassVar[str] = "ModelScope"
    others: ClassVar[str] = (
        "another address of the hub (MODELSCOPE_ENDPOINT=<address>), another hub (--hub huggingface)"
    )

    def __init__(self) -> None:
        """Import the client.

        Raises:
            DependencyMissingError: modelscope-hub is not installed.
        """
        with extra_packages("--hub modelscope", "export,modelscope", "modelscope_hub"):
            import modelscope_hub
        self._errors = modelscope_hub.errors
        self._config = modelscope_hub.get_default_config()
        self._api = modelscope_hub.HubApi(config=self._config)

    @property
    def address(self) -> str:
        """The address of the hub, or the one in MODELSCOPE_ENDPOINT."""
        return str(self._config.endpoint)

    def _download(self, hub_id: str, revision: str | None) -> Snapshot:
        if "/" not in hub_id:
            raise CheckpointNotFoundError(f"{hub_id}: ModelScope's ids have an owner, as in owner/{hub_id}.")
        listed = self._api.list_repo_files(hub_id, _MODEL, revision=revision)
        names = [entry.path for entry in listed if not entry.is_dir]
        check_paths(hub_id, names)
        allowed = patterns(names)
        wanted = [entry for entry in listed if not entry.is_dir and is_wanted(entry.path, allowed)]
        folder = self._api.download_repo(
            hub_id,
            _MODEL,
            revision=revision,
            # The checked listing: without it, the client requests another one.
            file_list=[{"Path": each.path, "Sha256": each.sha256, "Size": each.size} for each in wanted],
        )
        _refuse_stale(folder, names, allowed)
        return Snapshot(folder, revision or _DEFAULT_REVISION)

    def _cached(self, hub_id: str, revision: str | None) -> Snapshot | None:
        try:
            folder = self._api.download_repo(hub_id, _MODEL, revision=revision, local_files_only=True)
        except self._errors.CacheError:
            return None
        return Snapshot(folder, revision or _DEFAULT_REVISION)

    def _told(self, hub_id: str, revision: str | None, error: Exception) -> CheckpointError:
        known, where = self._errors, f"{self.title} ({self.address})"
        error = _first_failure(error)
        if isinstance(error, known.NotExistError):
            name = f"{hub_id} at revision {revision!r}" if revision else hub_id
            return CheckpointNotFoundError(
                f"{name}: {where} does not show it. Check the name: the owner may differ from the one on the "
                "Hugging Face hub. If it is private, set MODELSCOPE_API_TOKEN."
            )
        if isinstance(error, (known.AuthenticationError, known.PermissionDeniedError)):
            return CheckpointAccessError(
                f"{hub_id}: {where} refuses access ({reason(error)}). It is private or gated: ask for access "
                "on its page there, and set MODELSCOPE_API_TOKEN."
            )
        if isinstance(error, (known.NetworkError, known.ServerError, known.RateLimitError)):
            return self._unreachable(hub_id, error)
        return self._failed(hub_id, error)


def _first_failure(error: Any) -> Exception:
    """The error of the first failed file, if ``error`` is about several files."""
    failed: dict[str, Exception] = getattr(error, "failed_files", {})
    return next(iter(failed.values()), error)


def _refuse_stale(folder: Path, names: Sequence[str], allowed: Sequence[str]) -> None:
    """Reject a folder with files that the hub no longer lists.

    The cache of ModelScope has one folder per branch and never removes a file, so old weights could be taken
    for current ones.
    """
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    stale = sorted(name for name in found if is_wanted(name, allowed) and name not in names)
    if stale:
        raise CheckpointError(
            f"{folder}: {', '.join(stale)} are from an earlier state of the repository; remove the folder to "
            "download it again."
        )
