"""A histogram of cosines on a logarithmic scale, which separates 0.999 from 0.9999."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from m3e_export.report.markup import Markup, element

__all__ = ["cosine_histogram", "lowest_decade"]

_LAST = 7
"""The last decade of the scale: float32 vectors do not distinguish 1 - 10⁻⁷ from 1."""
_BINS = 8  # of each decade
_WIDTH, _LEFT, _RIGHT = 560, 34, 12
_TOP, _HEIGHT, _LINE = 46, 120, 13

Cosines = npt.NDArray[np.float64]


def lowest_decade(cosines: Iterable[float]) -> int:
    """The n such that a scale for all ``cosines`` begins at 1 - 10⁻ⁿ."""
    return min(4, math.floor(_place(min(cosines, default=1.0))))


def cosine_histogram(cosines: Cosines, limits: Mapping[str, tuple[float, bool]], first: int) -> Markup:
    """An SVG image.

    Args:
        cosines: float64 ``[n]``.
        limits: the threshold of each measure, and whether it is met.
        first: the first decade of the scale, see :func:`lowest_decade`.
    """
    places = np.clip([_place(cosine) for cosine in cosines], first, _LAST)
    # The last bin is for cosines that cannot be distinguished from 1.
    bins = (_LAST - first) * _BINS + 1
    counts = np.bincount(((places - first) * _BINS).astype(int), minlength=bins)
    width = (_WIDTH - _LEFT - _RIGHT) / bins
    description = f"Histogram of {len(cosines)} cosines, the lowest {cosines.min():.6f}"
    return element(
        "svg",
        *_axes(first, counts.max(), width),
        *(_bar(place, count, counts.max(), width, first) for place, count in enumerate(counts) if count),
        *_limits(limits, width, first),
        class_="histogram",
        viewBox=f"0 0 {_WIDTH} {_TOP + _HEIGHT + 20}",
        role="img",
        aria_label=description,
    )


def _place(cosine: float) -> float:
    """The place of a cosine on the scale: 3 for 0.999."""
    return -math.log10(min(1.0, max(1 - cosine, 10.0**-_LAST)))


def _bar(place: int, count: int, most: int, width: float, first: int) -> Markup:
    height = max(2.0, _HEIGHT * count / most)
    words = f"{_label(first + place / _BINS)} to {_label(first + (place + 1) / _BINS)}"
    if first + place / _BINS >= _LAST:
        words = "equal to 1 in float32"
    return element(
        "rect",
        element("title", f"{words}: {count} texts"),
        x=round(_LEFT + place * width + 0.5, 1),
        y=round(_TOP + _HEIGHT - height, 1),
        width=round(width - 1, 1),
        height=round(height, 1),
        class_="column",
    )


def _axes(first: int, most: int, width: float) -> list[Markup]:
    base = _TOP + _HEIGHT
    lines = [
        _line(_LEFT, base, _WIDTH - _RIGHT, base, "axis"),
        _text(_LEFT - 6, _TOP + 9, str(most), "end"),
        _text(_LEFT - 6, base, "0", "end"),
    ]
    for decade in range(first, _LAST + 1):
        x = _LEFT + (decade - first) * _BINS * width + (width / 2 if decade == _LAST else 0)
        lines += [_line(x, base, x, base + 4, "axis"), _text(x, base + 16, _label(decade), "middle")]
    return lines


def _limits(limits: Mapping[str, tuple[float, bool]], width: float, first: int) -> list[Markup]:
    """A dashed line and a name for each. The names are stacked, because lines may be close."""
    drawn = []
    for row, (name, (limit, met)) in enumerate(limits.items()):
        x = _LEFT + (min(max(_place(limit), first), _LAST) - first) * _BINS * width
        y, kind = 10 + row * _LINE, "limit" if met else "limit bad"
        left = x > _WIDTH / 2
        drawn.append(_line(x, y - 8, x, _TOP + _HEIGHT, kind))
        drawn.append(
            _text(x - 5 if left else x + 5, y, f"{name} ≥ {limit:g}", "end" if left else "start", kind)
        )
    return drawn


def _label(decade: float) -> str:
    return "1" if decade >= _LAST else f"{1 - 10**-decade:.7g}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1), class_=kind)


def _text(x: float, y: float, words: str, anchor: str, kind: str | None = None) -> Markup:
    return element("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=kind)
