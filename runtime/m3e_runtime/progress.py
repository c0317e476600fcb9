"""Progress bars on stderr, shown on a terminal for work that takes longer than a moment."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["progress_bar"]


class _Silent:
    """Replaces a bar that is not shown: importing tqdm costs a service 30 ms and some megabytes."""

    total: int | None = None

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass


def progress_bar(
    total: int | None,
    unit: str,
    label: str,
    show: bool | None = None,
    delay: float = 0.5,
    initial: int = 0,
) -> Any:
    """A tqdm bar. ``show``: True always, False never, None on a terminal after ``delay`` seconds.

    A bar of long steps should have no delay, or it appears after the first step. ``initial`` of ``total``
    steps are done already. A unit of ``B`` is shown as kB, MB and so on.
    """
    # sys.stderr is None in a program without a console.
    if show is False or (show is None and not (sys.stderr and sys.stderr.isatty())):
        return _Silent()
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=unit == "B",
        desc=label,
        delay=0 if show else delay,
        dynamic_ncols=True,
    )
