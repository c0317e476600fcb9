"""Building HTML safely: everything that is not :class:`Markup` is escaped."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

__all__ = ["Markup", "element", "joined", "visible"]

_EMPTY = {"br", "meta"}
_MOST = 160
_JOINER = "\u200d"  # holds emoji together
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of invisible characters, and of those that change the direction of text."""


class Markup(str):
    """Text that is HTML. The result of ``+`` or of an f-string is a plain ``str``, which is escaped."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | int | float | None) -> Markup:
    """``<name …>children</name>``, with children and values of attributes escaped.

    A child or an attribute that is None is left out. ``class_`` stands for ``class``, and ``_`` for ``-``.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{name}{''.join(given)}>"
    return Markup(opening if name in _EMPTY else f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[str | None]) -> Markup:
    """The concatenated children; those that are not markup are escaped."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def visible(text: str, most: int = _MOST) -> Markup:
    """A user's text, isolated in its direction, cut after ``most`` characters, and with controls escaped."""
    if not text.strip():
        return element("i", "(empty)" if not text else "(only white space)", class_="quiet")
    cut = text if len(text) <= most else f"{text[:most]}…"
    return element("bdi", "".join(map(_shown, cut)))


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape("".join(map(_encodable, child)))


def _encodable(character: str) -> str:
    """Escape NUL, which HTML does not allow, and lone surrogates, which UTF-8 cannot encode."""
    return _escape(character) if character == "\0" or "\ud800" <= character <= "\udfff" else character


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in _HIDDEN and character != _JOINER
    return _escape(character) if hidden else character


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
