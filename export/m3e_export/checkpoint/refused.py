"""Folders and files that look like a checkpoint and are none, told by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["refuse_adapter", "refuse_folder_above", "refuse_quantized"]

_ADAPTER = "adapter_config.json"
_MARKS = ("config.json", "modules.json", _ADAPTER)
_MOST_NAMED = 8


def refuse_adapter(folder: Path) -> None:
    """Refuse the files of PEFT, which hold the difference to another model.

    Beside a whole model too: transformers would then load the adapter's base in place of that model.

    Raises:
        UnsupportedModelError: the folder holds an adapter.
    """
    file = folder / _ADAPTER
    if not file.is_file():
        return
    settings = read_object(file)
    base = settings.get("base_model_name_or_path") or "a model that it does not name"
    raise UnsupportedModelError(
        f"{file}: a PEFT adapter ({settings.get('peft_type') or 'of unknown type'}) for {base}, not a whole "
        "model; merge it into that (PEFT's merge_and_unload), save the result, and export that folder."
    )


def refuse_folder_above(folder: Path) -> None:
    """Refuse a folder without a model whose subfolders have some, as a trainer's output folder.

    Raises:
        CheckpointError: there is such a subfolder; the message names them.
    """
    if any((folder / name).exists() for name in _MARKS):
        return
    below = {file.parent for name in _MARKS for file in folder.glob(f"*/{name}")}
    if below:
        names = sorted((each.name for each in below), key=_in_order)
        more = ", …" if len(names) > _MOST_NAMED else ""
        raise CheckpointError(
            f"{folder}: no config.json; the checkpoints lie one level below: "
            f"{', '.join(names[:_MOST_NAMED])}{more}. Name one of them."
        )


def refuse_quantized(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse weights that bitsandbytes, GPTQ, AWQ or another library has quantized.

    Args:
        file: config.json.
        config: its content.

    Raises:
        UnsupportedModelError: it has a ``quantization_config``.
    """
    settings = config.get("quantization_config")
    if settings is None:
        return
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    raise UnsupportedModelError(
        f"{file}: quantization_config: weights quantized by {method or 'a method that it does not name'} are "
        "not supported; export the original checkpoint, with --precision int8 for small files."
    )


def _in_order(name: str) -> list[tuple[int, str]]:
    """checkpoint-500 before checkpoint-1000."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
