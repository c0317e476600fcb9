"""The parts of reports: badges, facts, tables, bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from m3e_export.report.markup import Markup, element

__all__ = ["badge", "bar", "facts", "megabytes", "section", "shares", "table"]


def badge(kind: str, words: str) -> Markup:
    """A state; ``kind`` is good, bad or warn. Sign and colour say the same."""
    sign = {"good": "✓", "bad": "✗", "warn": "!"}[kind]
    return element("span", f"{sign} {words}", class_=f"badge {kind}")


def facts(given: Mapping[str, str | None]) -> Markup:
    """Names and values in columns. Values that are None are left out."""
    pairs = [
        element("div", element("dt", name), element("dd", value))
        for name, value in given.items()
        if value is not None
    ]
    return element("dl", *pairs, class_="facts")


def section(heading: str, *children: str | None, mark: str | None = None, id_: str | None = None) -> Markup:
    """A section of the page with a heading, and a mark beside it."""
    return element(
        "section", element("h2", heading, " " if mark else None, mark), *children, id_=id_, class_="card"
    )


def table(heading: Sequence[str], body: Iterable[Sequence[str]], words: int = 1) -> Markup:
    """A table. The first ``words`` columns are words and the others numbers."""
    rows = [
        element(
            "tr", *(_cell("td" if place else "th", cell, place >= words) for place, cell in enumerate(row))
        )
        for row in body
    ]
    head = element("tr", *(_cell("th", cell, place >= words) for place, cell in enumerate(heading)))
    whole = element("table", element("thead", head), element("tbody", *rows))
    # Wide tables scroll, not the page.
    return element("div", whole, class_="wide", tabindex=0)


def _cell(name: str, content: str, number: bool) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return element(name, content, class_="number" if number else None)


def bar(value: float, largest: float) -> Markup:
    """A bar for ``value``; the full width is ``largest``."""
    share = 100 * value / largest if largest > 0 else 0
    return element("span", element("span", style=f"width:{share:.1f}%"), class_="bar", aria_hidden="true")


def shares(parts: Mapping[str, int]) -> Markup:
    """Counts as the parts of one bar, with a legend. The first part is the good one."""
    total = sum(parts.values())
    pieces = [
        element("span", class_=f"share s{place}", style=f"flex-grow:{count}", title=f"{name}: {count}")
        for place, (name, count) in enumerate(parts.items())
        if count
    ]
    legend = [
        element("li", element("span", class_=f"dot s{place}"), f" {name}: {count}, {_percent(count / total)}")
        for place, (name, count) in enumerate(parts.items())
        if count
    ]
    strip = element("div", *pieces, class_="shares", aria_hidden="true")
    return element("div", strip, element("ul", *legend, class_="legend"))


def _percent(share: float) -> str:
    return "<1%" if share < 0.01 else f"{share:.0%}"


def megabytes(size: int) -> str:
    """``23.2 MB``."""
    return f"{size / 1e6:.1f} MB"
