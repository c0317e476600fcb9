"""Finding the folder of a checkpoint: a local one, or one downloaded from a hub."""

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
    """The folder of a checkpoint and where it comes from.

    ``hub`` and ``revision`` are None for a local folder. ``revision`` is the commit if the hub tells it, as
    the Hugging Face hub does, else the requested branch, tag or commit.
    """

    folder: Path
    hub: HubName | None = None
    revision: str | None = None


def fetch(checkpoint: str, revision: str | None = None, hub: HubName = DEFAULT_HUB) -> Origin:
    """Find the folder of ``checkpoint``, or download it from ``hub`` if it is a hub id.

    Raises:
        CheckpointError: it is neither a folder nor a hub id that can be downloaded.
        DependencyMissingError: the hub's client library is not installed.
        OptionError: a revision was given for a folder.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise OptionError(
                f"--revision {revision}: {checkpoint} is a local folder; only hub ids have revisions."
            )
        return Origin(folder)
    if folder.exists():
        raise CheckpointError(f"{checkpoint}: this is a file; give the folder that contains config.json.")
    if not _HUB_ID.fullmatch(checkpoint):
        raise CheckpointError(f"{checkpoint}: no such folder, and not a hub id such as moka-ai/m3e-base.")
    snapshot = hub_of(hub).snapshot(checkpoint, revision)
    return Origin(snapshot.folder, hub, snapshot.revision)


def source_name(checkpoint: str, folder: Path) -> str:
    """The manifest's name of ``checkpoint``: its hub id, or the name of ``folder`` without its path."""
    is_folder = Path(checkpoint).expanduser() == folder  # however it is written: ./name, name/
    return shown(folder.resolve().name if is_folder else checkpoint)
