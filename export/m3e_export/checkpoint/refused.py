"""Rejecting folders and files that only look like a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3e_export.architectures.custom_code import read_classes
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["refuse_adapters_below", "refuse_folder_above", "refuse_other_code", "refuse_quantized"]

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


def refuse_adapters_below(folder: Path) -> None:
    """Reject weights whose folder has adapters for tasks in its subfolders, as jina-embeddings-v5 has.

    Such a model computes nothing useful without one of them, and nothing in its config.json says so. The
    subfolders ``checkpoint-…`` of a trainer do not count.

    Raises:
        UnsupportedModelError: there are such subfolders; the message names them.
    """
    found = {file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/adapter_config.json")}
    names = sorted(str(each.relative_to(folder)) for each in found)
    names = [name for name in names if not name.startswith("checkpoint-")]
    if names:
        more = ", …" if len(names) > _MOST_NAMED else ""
        raise UnsupportedModelError(
            f"{folder}: there are adapters beside the weights, in {', '.join(names[:_MOST_NAMED])}{more}; "
            "merge one with PEFT's merge_and_unload and export the result, or move them away to export the "
            "weights alone."
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


def refuse_other_code(file: Path, config: Mapping[str, Any]) -> None:
    """Reject a checkpoint that came with code of its own whose arithmetic is not known.

    transformers and sentence-transformers load such a checkpoint with their own class of the same
    ``model_type`` if they may not run the code, whatever it computes: the BERT of the first
    jina-embeddings-v2 had ALiBi, and the XLM-RoBERTa of jina-reranker-v2 has other tensors.

    Args:
        file: the path of config.json.
        config: the content of config.json.

    Raises:
        UnsupportedModelError: ``auto_map`` names such a class.
    """
    classes = config.get("auto_map")
    if not isinstance(classes, Mapping):
        return
    for kind, name in classes.items():
        known = str(name).rsplit(".", 1)[-1].startswith(read_classes(config))
        if str(kind).startswith(("AutoConfig", "AutoModel")) and not known:
            raise UnsupportedModelError(
                f"{file}: auto_map: {name} is code of the checkpoint's own, which is never run, and what it "
                "computes is not known. If it is what transformers' class for model_type "
                f"{config.get('model_type')!r} computes, remove auto_map."
            )


def _in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts checkpoint-500 before checkpoint-1000."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
