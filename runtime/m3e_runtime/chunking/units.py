"""Units: parts of a text with their numbers of tokens, of which chunks are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from m3e_runtime.chunking.sentences import Range, clauses, divided, halves, sentences
from m3e_runtime.errors import TextTooLongError
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["Unit", "UnitReader"]

_COUNTED = 256
"""Units that are tokenized together."""

_NO_LIMIT = 1 << 24
_CHARACTERS_PER_TOKEN = 16
_SHARES = 8
"""A sentence that is longer than a chunk is divided into units of this share of a chunk."""


class Unit(NamedTuple):
    """A part of a text, in characters, and how many tokens it has by itself, without special ones."""

    start: int
    stop: int
    tokens: int


class UnitReader:
    """Divides texts into units of at most ``room`` tokens: sentences, and parts of longer sentences.

    Units are tokenized one by one. Together their tokens may differ a little in number, where a tokenizer
    looks across the ends of sentences.

    Args:
        tokenizer: counts the tokens.
        room: most tokens of a unit.
        overlap: most tokens that two chunks share. Units that end a chunk are divided to fit.
    """

    def __init__(self, tokenizer: TextTokenizer, room: int, overlap: int) -> None:
        self._counter = tokenizer.limited(_NO_LIMIT)
        self._room = room
        self._grain = max(1, min(room // _SHARES, overlap // 2 or room))

    def read(self, text: str) -> Iterator[Unit]:
        """The units of ``text`` in order. What lies between them is white space.

        Raises:
            TextTooLongError: a single character has more than ``room`` tokens.
        """
        ranges = sentences(text, max(1, self._room) * _CHARACTERS_PER_TOKEN)
        while some := list(islice(ranges, _COUNTED)):
            for unit in self._counted(text, some):
                yield from self._fitting(text, unit)

    def parts(self, text: str, unit: Unit) -> list[Unit]:
        """Divide a unit into clauses, or else between words or grapheme clusters; one cluster stays whole."""
        parts = clauses(text, unit.start, unit.stop)
        if len(parts) == 1:
            parts = divided(text, unit.start, unit.stop, max(2, -(-unit.tokens // self._grain)))
        return self._counted(text, parts)

    def _fitting(self, text: str, unit: Unit) -> Iterator[Unit]:
        """The unit, or its parts if it is too long."""
        if unit.tokens <= self._room:
            yield unit
            return
        if unit.stop - unit.start == 1:
            raise TextTooLongError(
                f"the character at {unit.start} has {unit.tokens} tokens, and a chunk has room for "
                f"{self._room}; make chunks longer."
            )
        parts = self.parts(text, unit)
        if len(parts) == 1:
            parts = self._counted(text, halves(text, unit.start, unit.stop))
        for part in parts:
            yield from self._fitting(text, part)

    def _counted(self, text: str, ranges: Iterable[Range]) -> list[Unit]:
        """The ranges that are not only white space, with their tokens."""
        some = [(start, stop, part) for start, stop in ranges if not (part := text[start:stop]).isspace()]
        ids = self._counter.encode_batch([part for _, _, part in some])
        special = self._counter.special_tokens
        return [
            Unit(start, stop, len(each) - special) for (start, stop, _), each in zip(some, ids, strict=True)
        ]
