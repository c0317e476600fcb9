"""Where the results of a run are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["write_results"]


def write_results(results: dict[str, Any], folder: Path, name: str, *marks: str) -> Path:
    """Write ``folder/NAME-DATE-newest instruction set-MARKS.json``; the path without its suffix is returned.

    ``results`` has ``date`` and ``machine``, and maybe ``quick``, which is a mark.
    """
    newest = results["machine"]["instruction_sets"][-1:]
    parts = [name, results["date"], *newest, *marks, *(["quick"] if results.get("quick") else [])]
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / "-".join(parts)
    stem.with_suffix(".json").write_text(
        json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return stem
