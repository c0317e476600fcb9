"""From what the user typed, a folder or a hub id, to a local folder."""

from __future__ import annotations

import re
from pathlib import Path

from m3e_export.errors import CheckpointError, DependencyMissingError
from m3e_runtime.file_names import shown

__all__ = ["fetch", "source_name"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Configurations, tokenizers and weights only: a checkpoint's Python files are never fetched.
_WANTED = ["*.json", "*.txt", "README.md", "*.safetensors", "*.model"]
_PICKLES = ["pytorch_model*.bin", "adapter_model.bin"]


def fetch(checkpoint: str, revision: str | None = None) -> Path:
    """Return the folder of ``checkpoint``, downloading it from the Hugging Face hub when it is an id.

    Raises:
        CheckpointError: neither a folder nor a hub id that can be fetched.
        DependencyMissingError: huggingface-hub is needed and not installed.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{checkpoint}: a file; give the folder that holds config.json.")
    if not _HUB_ID.fullmatch(checkpoint):
        raise CheckpointError(f"{checkpoint}: no such folder, and not a hub id such as moka-ai/m3e-base.")
    return _download(checkpoint, revision)


def source_name(checkpoint: str, folder: Path) -> str:
    """What a manifest calls ``checkpoint``, found in ``folder``: its id, or the folder's name alone."""
    is_folder = Path(checkpoint).expanduser() == folder  # however it is written: ./name, name/
    return shown(folder.resolve().name if is_folder else checkpoint)


def _download(hub_id: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as error:
        raise DependencyMissingError(
            f"{hub_id}: fetching from the hub needs `pip install 'm3e-runtime[export]'`."
        ) from error
    try:
        names = HfApi().list_repo_files(hub_id, revision=revision)
        safe = any(name.endswith(".safetensors") and "/" not in name for name in names)
        wanted = _WANTED if safe else _WANTED + _PICKLES
        ignored = ["onnx/*", "openvino/*"]
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=wanted, ignore_patterns=ignored)
        )
    except Exception as error:  # network, authorization and cache errors share no base class
        cached = _cached(hub_id, revision)
        if cached is not None:
            return cached
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{hub_id}: no such folder, and the hub did not give it ({reason}). "
            "Check the name and the network, or pass a local folder."
        ) from error


def _cached(hub_id: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except Exception:  # not in the cache
        return None
