"""Places where a text can be divided: ends of sentences, and within a sentence clauses, words, characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise

from m3e_runtime.chunking.graphemes import cluster_border, is_cluster_border

__all__ = ["Range", "clauses", "divided", "halves", "sentences"]

Range = tuple[int, int]
"""Where a part of a text begins, and where it ends, in characters."""

_CLOSING = "\"'\u2018\u2019\u201c\u201d\u00bb\u203a)\\]}）】］｝》〉」』〕〗｠＂＇"
_WIDE = "。！？；｡…‥؟।॥"
_LINE = r"\r\n\v\f\x1c-\x1e\x85\u2028\u2029"
_END = re.compile(
    rf"[{_WIDE}.!?{_LINE}](?:"  # one set for all: re searches for a set at the beginning fast
    rf"(?<=[{_WIDE}])[{_WIDE}]*+[!?.]*+[{_CLOSING}]*+"  # ends wherever it stands
    rf"|(?<=[.!?])(?<![.!?]{{2}})(?<!\b[A-Z].)(?<!\b[DMS][rst].)"  # not in J. Doe, Dr. Who
    rf"[.!?]*+[{_CLOSING}]*+(?=\s)"  # nor in 3.14
    rf"|(?<=\r)\n|(?<=[{_LINE}]))"
)
_CLAUSE = re.compile(r"[，、：；—]++|(?<![,;:–])[,;:–]++(?=\s)")
_SPACE = re.compile(r"(?<=\S)(?=\s)")
_SPACELESS = r"\u0e00-\u0eff\u1780-\u17ff\u2e80-\ua4ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_INSIDE_WORD = re.compile(rf"(?<=[^\W{_SPACELESS}])(?=[^\W{_SPACELESS}])")  # in scripts with spaces
_SPACES = re.compile(r"\s*+")
# Each pattern looks at a run of characters once, from its beginning, so that long runs take linear time.

_WORD_LENGTH = 64
"""Characters of a word that is not divided if there is another place."""


def sentences(text: str, longest: int) -> Iterator[Range]:
    """Divide ``text`` at the ends of sentences and lines; together the ranges are the text.

    A sentence has its closing quotes and brackets, and the white space before it. No more than about
    ``longest`` characters are read to find its end: a longer one is divided within.
    """
    start = 0
    while start < len(text):
        stop = _sentence_end(text, start, min(start + longest, len(text)))
        yield start, stop
        start = stop


def clauses(text: str, start: int, stop: int) -> list[Range]:
    """Divide a range behind its commas, colons and dashes; it is one clause if it has none.

    ``start`` and ``stop`` must be borders of grapheme clusters, and so are all others.
    """
    ends = [found.end() for found in _CLAUSE.finditer(text, start, stop)]
    inner = [end for end in ends if end < stop and is_cluster_border(text, end, start)]
    return list(pairwise([start, *inner, stop]))


def divided(text: str, start: int, stop: int, parts: int) -> list[Range]:
    """Divide a range into about ``parts`` ranges of similar length, between words or grapheme clusters.

    ``start`` and ``stop`` must be borders of grapheme clusters, and so are all others.
    """
    step = -((start - stop) // parts)
    ends = [start]
    while stop - ends[-1] > step:
        ends.append(_inner_end(text, ends[-1], ends[-1] + step, stop))
    if ends[-1] != stop:
        ends.append(stop)
    return list(pairwise(ends))


def halves(text: str, start: int, stop: int) -> list[Range]:
    """Divide a range of two or more characters at least once: a grapheme cluster between code points."""
    parts = divided(text, start, stop, 2)
    middle = (start + stop) // 2
    return parts if len(parts) > 1 else [(start, middle), (middle, stop)]


def _sentence_end(text: str, start: int, limit: int) -> int:
    """The end of the sentence that begins at ``start``, or a place near ``limit`` if it is longer."""
    at = start
    if text[start].isspace():
        at = _SPACES.match(text, start, limit).end()  # type: ignore[union-attr]  # it always matches
    while found := _END.search(text, at, limit):
        at = end = found.end()
        if end == limit < len(text):
            break
        if is_cluster_border(text, end, start):
            return end
    return limit if limit == len(text) else _inner_end(text, start, limit, len(text))


def _inner_end(text: str, start: int, target: int, stop: int) -> int:
    """A place near ``target`` for a division: at a space, between words, or between grapheme clusters."""
    least = start + (target - start) // 2 + 1
    spaces: list[int] = [found.start() for found in _SPACE.finditer(text, least, target)]
    for at in reversed(spaces):
        if is_cluster_border(text, at, start):
            return at
    word_end = _word_end(text, start, target, stop) if _INSIDE_WORD.match(text, target) else None
    return word_end or cluster_border(text, target, start, stop)


def _word_end(text: str, start: int, target: int, stop: int) -> int | None:
    """The nearest place before ``target``, or else behind it, that is not inside a word."""
    before = range(target - 1, max(start, target - _WORD_LENGTH), -1)
    behind = range(target + 1, min(target + _WORD_LENGTH, stop))
    for at in chain(before, behind):
        if not _INSIDE_WORD.match(text, at) and is_cluster_border(text, at, start):
            return at
    return None
