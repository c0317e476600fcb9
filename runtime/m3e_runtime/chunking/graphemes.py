"""Places where a text may be divided without dividing what a reader sees as one character.

The rules are those for extended grapheme clusters in Unicode Standard Annex 29, without its tables: the few
places that the tables allow in addition, such as after a zero width joiner that joins nothing, count as
inside a cluster.
"""

from __future__ import annotations

import unicodedata

__all__ = ["cluster_border", "is_cluster_border"]

_ZWJ = "\u200d"
_EXTENDING = frozenset("\u200c\u200d\u0e33\u0eb3\uff9e\uff9f")
_MARKS = ("Mn", "Mc", "Me")
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2"
    "\U000111c3\U000113d1\U0001193f\U00011941\U00011a84\U00011a85\U00011a86\U00011a87\U00011a88\U00011a89"
    "\U00011d46\U00011f02"
)
_VIRAMA = 9  # the canonical combining class


def is_cluster_border(text: str, at: int, floor: int = 0) -> bool:
    """Whether no grapheme cluster of ``text`` lies across ``at``.

    Args:
        text: the text.
        at: a position in it, in characters.
        floor: an earlier position that is such a border; nothing before it is read.
    """
    if at <= floor or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if after == "\n":
        return before != "\r"
    if before == _ZWJ or before in _PREPENDED:
        return False
    if after.isascii() or "\u3400" <= after <= "\u9fff":  # the most, and nothing else applies to them
        return True
    if _extends(after):
        return False
    if _is_regional(before) and _is_regional(after):
        return _regional_before(text, at, floor) % 2 == 0
    return not (_joins_hangul(before, after) or _joins_letters(text, at, floor))


def cluster_border(text: str, at: int, floor: int, stop: int) -> int:
    """The last border of a grapheme cluster from ``floor`` to ``at``; if there is none, the first after it.

    ``floor`` itself does not count. ``stop`` counts as a border.
    """
    for found in range(at, floor, -1):
        if is_cluster_border(text, found, floor):
            return found
    return next((found for found in range(at + 1, stop) if is_cluster_border(text, found, floor)), stop)


def _extends(character: str) -> bool:
    return (
        unicodedata.category(character) in _MARKS
        or character in _EXTENDING
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # tags
    )


def _is_regional(character: str) -> bool:
    """Whether two of these are a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _regional_before(text: str, at: int, floor: int) -> int:
    start = at
    while start > floor and _is_regional(text[start - 1]):
        start -= 1
    return at - start


def _joins_hangul(before: str, after: str) -> bool:
    """Whether two jamo, or a syllable and a jamo, are of one syllable block."""
    if "\u1160" <= after <= "\u11ff" or "\ud7b0" <= after <= "\ud7fb":  # vowels and final consonants
        return True
    is_leading = "\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c"
    return is_leading and (
        "\u1100" <= after <= "\u115f" or "\ua960" <= after <= "\ua97c" or "\uac00" <= after <= "\ud7a3"
    )


def _joins_letters(text: str, at: int, floor: int) -> bool:
    """Whether a virama before ``at`` joins two letters of an Indic script."""
    if not unicodedata.category(text[at]).startswith("L"):
        return False
    for index in range(at - 1, max(floor, at - 8) - 1, -1):
        if unicodedata.combining(text[index]) == _VIRAMA:
            return True
        if unicodedata.category(text[index]) not in _MARKS:
            return False
    return False
