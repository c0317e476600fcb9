"""The licence of the weights, which a bundle records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.adapter import base_name
from m3e_export.checkpoint.sentence_config import SentenceConfig

__all__ = ["licence", "licence_of"]

_M3E = "M3E weights: for research use only, not for commercial use (see the model card of moka-ai/m3e)."
_UNKNOWN = "unknown: see the checkpoint"
_M3E_ID = re.compile(r"moka-ai/m3e-[\w.-]+", re.IGNORECASE)
_M3E_NAME = re.compile(r"m3e-(small|base|large)", re.IGNORECASE)
_CACHED = re.compile(r"models(?:--|/)([^/]+?)--([^/]+)(?=/|$)")
"""The folder of a model in the hubs' caches: models--owner--name or models/owner--name."""

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_ENTRY = r"^{key}:[ \t]*((?:[^\n]*\S)?(?:\n[ \t]*-[^\n]*)*)"
"""A YAML value on the line of its key, or a list on the lines below."""


def licence(folder: Path, source: str, sentence_config: SentenceConfig, config: dict[str, Any]) -> str:
    """The licence of the weights in one line, or of base model and adapter.

    Args:
        folder: the checkpoint's folder.
        source: the name that the user gave.
        sentence_config: the checkpoint's.
        config: the content of the transformer's config.json.
    """
    if sentence_config.adapter is None:
        return licence_of(folder, source, config)
    base = licence_of(sentence_config.transformer, base_name(sentence_config.adapter), config)
    return f"base model: {base.rstrip('.')}; adapter: {licence_of(folder, source, {})}"


def licence_of(folder: Path, source: str, config: dict[str, Any]) -> str:
    """The licence of the weights in one line: M3E's, or that of the model card or config.json.

    A checkpoint has M3E's licence if it or its base model has a hub id of M3E. If no licence is stated, the
    name of the folder or the hub id decides, because ModelScope has M3E under other owners. The rest of a
    path does not matter.
    """
    card = _front_matter(folder)
    if any(map(_M3E_ID.fullmatch, (*_ids(source, folder, config), *_values(card, "base_model")))):
        return _M3E
    stated = " ".join(_values(card, "license"))
    if stated:
        return f"{stated} (as the checkpoint's model card says)"
    if isinstance(config.get("license"), str):
        return f"{config['license']} (as the checkpoint's config.json says)"
    if any(map(_M3E_NAME.fullmatch, (folder.resolve().name, source.rpartition("/")[2]))):
        return _M3E
    if "uniem_embedding_strategy" in config or "uniem_pooling_strategy" in config:
        return f"Trained with uniem; if it derives from M3E: {_M3E}"
    return _UNKNOWN


def _ids(source: str, folder: Path, config: dict[str, Any]) -> list[str]:
    """Possible hub ids of the checkpoint, or of the one that it derives from."""
    cached = [f"{owner}/{name}" for owner, name in _CACHED.findall(folder.as_posix())]
    return [source, str(config.get("_name_or_path", "")), *cached]


def _front_matter(folder: Path) -> str:
    """The YAML at the beginning of the model card, or an empty string."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""
    front = _FRONT_MATTER.match(card)
    return front.group(1) if front else ""


def _values(front_matter: str, key: str) -> list[str]:
    """The value of ``key``, or the items of its list."""
    found = re.search(_ENTRY.format(key=key), front_matter, re.MULTILINE)
    items = re.split(r"\n[ \t]*-|,", found.group(1).strip(" \t[]")) if found else []
    return [item.strip().strip("\"'") for item in items if item.strip()]
