"""From what the user typed, a folder or a hub id, to a local folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from m3e_export.errors import CheckpointError, OptionError
from m3e_export.hubs import DEFAULT_HUB, HubName, hub_of
from m3e_runtime.file_names import shown

__all__ = ["Origin", "fetch", "source_name"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint lies, and where it came from.

    ``hub`` and ``revision`` are None for a folder of the user's. ``revision`` is the commit where the hub
    tells it, as the Hugging Face hub does, else the branch, tag or commit that was asked for.
    """

    folder: Path
    hub: HubName | None = None
    revision: str | None = None


def fetch(checkpoint: str, revision: str | None = None, hub: HubName = DEFAULT_HUB) -> Origin:
    """Find the folder of ``checkpoint``; download it from ``hub`` when it is an id.

    Raises:
        CheckpointError: neither a folder nor a hub id that can be downloaded.
        DependencyMissingError: the hub's client library is needed and not installed.
        OptionError: a revision of a folder.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise OptionError(f"--revision {revision}: {checkpoint} is a folder; revisions are a hub's.")
        return Origin(folder)
    if folder.exists():
        raise CheckpointError(f"{checkpoint}: a file; give the folder that holds config.json.")
    if not _HUB_ID.fullmatch(checkpoint):
        raise CheckpointError(f"{checkpoint}: no such folder, and not a hub id such as moka-ai/m3e-base.")
    snapshot = hub_of(hub).snapshot(checkpoint, revision)
    return Origin(snapshot.folder, hub, snapshot.revision)


def source_name(checkpoint: str, folder: Path) -> str:
    """What a manifest calls ``checkpoint``, found in ``folder``: its id, or the folder's name alone."""
    is_folder = Path(checkpoint).expanduser() == folder  # however it is written: ./name, name/
    return shown(folder.resolve().name if is_folder else checkpoint)
