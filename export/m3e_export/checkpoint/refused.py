"""Rejecting folders and files that only look like a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["refuse_folder_above", "refuse_quantized"]

_MARKS = ("config.json", "modules.json", "adapter_config.json")
_MOST_NAMED = 8


def refuse_folder_above(folder: Path) -> None:
    """Reject a folder without a model whose subfolders have one, such as the output folder of a trainer.

    Raises:
        CheckpointError: there are such subfolders; the message names them.
    """
    if any((folder / name).exists() for name in _MARKS):
        return
    below = {file.parent for name in _MARKS for file in folder.glob(f"*/{name}")}
    if below:
        names = sorted((each.name for each in below), key=_in_order)
        more = ", …" if len(names) > _MOST_NAMED else ""
        raise CheckpointError(
            f"{folder}: no config.json; the checkpoints are in the subfolders "
            f"{', '.join(names[:_MOST_NAMED])}{more}. Give one of them."
        )


def refuse_quantized(file: Path, config: Mapping[str, Any]) -> None:
    """Reject weights quantized by bitsandbytes, GPTQ, AWQ or another library.

    Args:
        file: the path of config.json.
        config: the content of config.json.

    Raises:
        UnsupportedModelError: there is a ``quantization_config``.
    """
    settings = config.get("quantization_config")
    if settings is None:
        return
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    raise UnsupportedModelError(
        f"{file}: quantization_config: weights quantized by {method or 'an unknown method'} are "
        "not supported; export the original checkpoint, with --precision int8 for small files."
    )


def _in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts checkpoint-500 before checkpoint-1000."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
