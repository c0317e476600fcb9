"""A chart of differences from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from m3e_export.report.markup import Markup, element

__all__ = ["difference_chart"]

_WIDTH, _LABELS, _FIGURES = 760, 210, 60
_BAR, _GAP, _TOP = 13, 9, 4
_COLOURS = 6
_LEAST = 0.5
"""The minimum range of the scale, in points, so that small differences look small."""


def difference_chart(rows: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str]) -> Markup:
    """An SVG image with a bar for each name in each row, and a legend.

    Args:
        rows: a label and the difference of each name, in points; a name may be absent.
        names: in the order of their colours.
    """
    largest = max((abs(value) for _, values in rows for value in values.values()), default=0.0)
    scale = (_WIDTH - _LABELS - 2 * _FIGURES) / 2 / max(largest, _LEAST)
    y, drawn = float(_TOP), []
    for label, values in rows:
        here = [name for name in names if name in values]
        drawn.append(_text(_LABELS - 12, y + len(here) * _BAR / 2 + 4, label, "end"))
        for name in here:
            drawn += _bar(y, name, values[name], scale, names.index(name))
            y += _BAR
        y += _GAP
    image = element(
        "svg",
        element("line", x1=_zero(), x2=_zero(), y1=0, y2=y, class_="axis"),
        *drawn,
        viewBox=f"0 0 {_WIDTH} {y:g}",
        class_="differences",
        role="img",
        aria_label="Differences in points; the table has the same figures",
    )
    return element("div", _legend(names), image)


def _zero() -> float:
    return _LABELS + (_WIDTH - _LABELS) / 2


def _bar(y: float, name: str, value: float, scale: float, place: int) -> list[Markup]:
    width = abs(value) * scale
    rect = element(
        "rect",
        element("title", f"{name}: {value:+.2f} points"),
        x=round(_zero() - (width if value < 0 else 0), 1),
        y=y,
        width=round(max(width, 1.0), 1),
        height=_BAR - 2,
        class_=f"s{place % _COLOURS}",
    )
    end = _zero() + (-width - 5 if value < 0 else width + 5)
    return [rect, _text(end, y + _BAR - 3, f"{value:+.2f}", "end" if value < 0 else "start")]


def _legend(names: Sequence[str]) -> Markup:
    items = [
        element("li", element("span", class_=f"dot s{place % _COLOURS}"), f" {name}")
        for place, name in enumerate(names)
    ]
    return element("ul", *items, class_="legend")


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return element("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor)
