"""Places where a text can be divided: ends of sentences, and within a sentence clauses, words, characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from m3e_runtime.chunking.graphemes import cluster_border, is_cluster_border

__all__ = ["Range", "divided", "halves", "sentences"]

Range = tuple[int, int]
"""Where a part of a text begins, and where it ends, in characters."""

_CLOSING = "\"'\u2018\u2019\u201c\u201d\u00bb\u203a)\\]}）】］｝》〉」』〕〗｠＂＇"
_END = re.compile(
    rf"[。！？；｡…‥؟।॥]++[!?.]*+[{_CLOSING}]*+"  # ends wherever it stands
    rf"|(?<![.!?])(?<!\b[A-Z])(?<!\b[DMS][rst])[.!?]++[{_CLOSING}]*+(?=\s)"  # not in 3.14, J. Doe, Dr. Who
    r"|\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]"
)
_CLAUSE = re.compile(r"[，、：；—]++|(?<![,;:–])[,;:–]++(?=\s)")
_SPACE = re.compile(r"(?<=\S)(?=\s)")
_SPACES = re.compile(r"\s*+")
# Each pattern looks at a run of characters once, from its beginning, so that long runs take linear time.


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


def divided(text: str, start: int, stop: int, parts: int) -> list[Range]:
    """Divide a range into about ``parts`` ranges of similar length: behind clauses, words or characters.

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
    """A place for a division not far before ``target``, or behind it where a cluster lies across it."""
    least = start + (target - start) // 2 + 1
    for pattern in (_CLAUSE, _SPACE):
        ends = [found.end() for found in pattern.finditer(text, least, target)]
        for end in reversed(ends):
            if end > start and is_cluster_border(text, end, start):
                return end
    return cluster_border(text, target, start, stop)
