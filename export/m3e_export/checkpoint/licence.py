"""The licence line that a bundle carries on: the weights keep the licence of their authors."""

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
"""A model's folder in the caches of both hubs: models--owner--name, models/owner--name."""

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_ENTRY = r"^{key}:[ \t]*((?:[^\n]*\S)?(?:\n[ \t]*-[^\n]*)*)"
"""A value of YAML on the line of its key, or a list on the lines below."""


def licence(folder: Path, source: str, sentence_config: SentenceConfig, config: dict[str, Any]) -> str:
    """One line on the licence of the weights, from the model's family or its card; two for an adapter.

    Args:
        folder: the checkpoint.
        source: what the user calls it.
        sentence_config: what ``folder`` says.
        config: the transformer's config.json.
    """
    if sentence_config.adapter is None:
        return licence_of(folder, source, config)
    base = licence_of(sentence_config.transformer, base_name(sentence_config.adapter), config)
    return f"base model: {base.rstrip('.')}; adapter: {licence_of(folder, source, {})}"


def licence_of(folder: Path, source: str, config: dict[str, Any]) -> str:
    """One line on the licence of the weights: M3E's, or what card or config say.

    A checkpoint is M3E's by its hub id, by the id that its config or its card says it derives from, or, where
    no licence is stated, by a folder or a hub id of M3E's own names: ModelScope has M3E under other owners.
    What else stands in a path says nothing.
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
    """What may be the hub id of the checkpoint, or of the one that it was made from."""
    cached = [f"{owner}/{name}" for owner, name in _CACHED.findall(folder.as_posix())]
    return [source, str(config.get("_name_or_path", "")), *cached]


def _front_matter(folder: Path) -> str:
    """The YAML at the beginning of the model card; nothing where there is no card that can be read."""
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
