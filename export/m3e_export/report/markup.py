"""HTML whose texts cannot become markup: what is not :class:`Markup` is escaped."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

__all__ = ["Markup", "element", "joined", "visible"]

_EMPTY = {"br", "meta"}
_MOST = 160
_JOINER = "\u200d"  # holds emoji together
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that are not seen, or turn the direction of the text after them."""


class Markup(str):
    """Text that is HTML already. What is made of it by ``+`` or an f-string is a ``str``, and not trusted."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | int | float | None) -> Markup:
    """``<name …>children</name>``; children and values of attributes are escaped.

    A child or an attribute of None is left out. ``class_`` stands for ``class`` and ``_`` for ``-``.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{name}{''.join(given)}>"
    return Markup(opening if name in _EMPTY else f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[str | None]) -> Markup:
    """The children one after the other, those that are not markup escaped."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def visible(text: str, most: int = _MOST) -> Markup:
    """A text of a user in a direction of its own, cut after ``most`` characters, with controls as escapes."""
    if not text.strip():
        return element("i", "(empty)" if not text else "(only white space)", class_="quiet")
    cut = text if len(text) <= most else f"{text[:most]}…"
    return element("bdi", "".join(map(_shown, cut)))


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape("".join(map(_encodable, child)))


def _encodable(character: str) -> str:
    """NUL, which is no character of HTML, and lone surrogates, which UTF-8 has no bytes for, as escapes."""
    return _escape(character) if character == "\0" or "\ud800" <= character <= "\udfff" else character


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in _HIDDEN and character != _JOINER
    return _escape(character) if hidden else character


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
