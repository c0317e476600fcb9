"""The files of a repository that an export needs: data, never code."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from m3e_export.errors import UntrustedCheckpointError

__all__ = ["DATA", "IGNORED", "check_paths", "is_wanted", "patterns"]

HEAD_FILES = ("sparse_linear.pt", "colbert_linear.pt")
"""Small pickles of bge-m3, of which there are no safetensors. They are read without running code."""

# Configurations, tokenizers and weights. A checkpoint's Python files are never downloaded.
DATA = ["*.json", "*.txt", "README.md", "*.safetensors", "*.model", *HEAD_FILES]
_PICKLES = ["pytorch_model*.bin", "adapter_model.bin"]
IGNORED = ["onnx/*", "openvino/*"]


def patterns(names: Iterable[str]) -> list[str]:
    """Patterns of the files to download from a repository with the files ``names``.

    Pickles are included only if there are no safetensors.
    """
    safe = any(name.endswith(".safetensors") and "/" not in name for name in names)
    return DATA if safe else DATA + _PICKLES


def is_wanted(name: str, allowed: Sequence[str]) -> bool:
    """Whether the file ``name`` matches ``allowed`` and is not ignored."""
    return _matches(name, allowed) and not _matches(name, IGNORED)


def check_paths(hub_id: str, names: Iterable[str]) -> None:
    """Check that all files of a listing stay inside the repository's folder.

    Raises:
        UntrustedCheckpointError: a path leads out of the folder.
    """
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise UntrustedCheckpointError(f"{hub_id}: lists the file {name!r}, outside of its own folder.")


def _matches(name: str, allowed: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in allowed)
