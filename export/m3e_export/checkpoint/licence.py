"""The licence line that a bundle carries on: the weights keep the licence of their authors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.adapter import base_name
from m3e_export.checkpoint.layout import Layout

__all__ = ["licence"]

_M3E = "M3E weights: for research use only, not for commercial use (see the model card of moka-ai/m3e)."
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^license:\s*(\S+)\s*$", re.MULTILINE)


def licence(folder: Path, source: str, layout: Layout, config: dict[str, Any]) -> str:
    """One line on the licence of the weights, from the model's family or its card; two for an adapter.

    Args:
        folder: the checkpoint.
        source: what the user calls it.
        layout: what ``folder`` says.
        config: the transformer's config.json.
    """
    if layout.adapter is None:
        return _licence_of(folder, source, config)
    base = _licence_of(layout.transformer, base_name(layout.adapter), config)
    return f"Adapter: {_licence_of(folder, source, {})} Base model: {base}"


def _licence_of(folder: Path, source: str, config: dict[str, Any]) -> str:
    if "m3e" in source.lower() or "m3e" in str(config.get("_name_or_path", "")).lower():
        return _M3E
    if "uniem_embedding_strategy" in config or "uniem_pooling_strategy" in config:
        return f"Trained with uniem; if it derives from M3E: {_M3E}"
    card = folder / "README.md"
    if card.is_file():
        front = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace"))
        found = _LICENCE.search(front.group(1)) if front else None
        if found:
            return f"{found.group(1)} (as the checkpoint's model card says)"
    return "Not stated in the checkpoint; see the model's publisher."
