"""Spans: where the chunks of a text begin and end, by the numbers of tokens of its units."""

from __future__ import annotations

from collections.abc import Iterator

from m3e_runtime.chunking.graphemes import is_cluster_border
from m3e_runtime.chunking.sentences import Range
from m3e_runtime.chunking.units import Unit, UnitReader

__all__ = ["spans", "trimmed"]


def spans(text: str, reader: UnitReader, room: int, overlap: int) -> Iterator[Range]:
    """Join the units of ``text`` to spans of about ``room`` tokens.

    Args:
        text: the text.
        reader: reads its units.
        room: most tokens of the units of a span.
        overlap: most tokens at the end of a span that the next one repeats. Fewer are repeated where the
            next unit would not fit beside them.
    """
    held: list[Unit] = []
    tokens = 0
    for unit in reader.read(text):
        if held and tokens + unit.tokens > room:
            yield _span(text, held)
            held = _repeated(text, reader, held, min(overlap, room - unit.tokens))
            tokens = sum(each.tokens for each in held)
        held.append(unit)
        tokens += unit.tokens
    if held:
        yield _span(text, held)


def trimmed(text: str, start: int, stop: int) -> Range:
    """The range without white space around it. ``start`` and ``stop`` are borders of grapheme clusters."""
    part = text[start:stop]
    first, last = stop - len(part.lstrip()), start + len(part.rstrip())
    while not is_cluster_border(text, first, start):  # a mark combined with a space
        first -= 1
    while last < stop and not is_cluster_border(text, last, start):
        last += 1
    return first, last


def _span(text: str, units: list[Unit]) -> Range:
    return trimmed(text, units[0].start, units[-1].stop)


def _repeated(text: str, reader: UnitReader, units: list[Unit], most: int) -> list[Unit]:
    """The last units with at most so many tokens; of a unit that is longer, its end."""
    if most < 1:
        return []
    return _last(units, most) or _last(reader.parts(text, units[-1]), most)


def _last(units: list[Unit], most: int) -> list[Unit]:
    tokens = 0
    for index in range(len(units) - 1, -1, -1):
        tokens += units[index].tokens
        if tokens > most:
            return units[index + 1 :]
    return units
