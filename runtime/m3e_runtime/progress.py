"""Progress on stderr, shown when a person is watching and it takes longer than a moment."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(total: int | None, unit: str, label: str, show: bool | None = None) -> Any:
    """A tqdm bar. ``show``: True always, False never, None only on a terminal and after half a second."""
    return tqdm(
        total=total,
        unit=unit,
        desc=label,
        disable=None if show is None else not show,
        delay=0.5 if show is None else 0,
        dynamic_ncols=True,
    )
