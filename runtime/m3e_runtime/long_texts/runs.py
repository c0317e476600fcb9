"""Runs of characters whose number of tokens does not grow with their length.

These are white space that is dropped, words that WordPiece gives up as unknown, and characters at the end
of a word that Unigram does not know. Millions of such characters give few tokens. They are shortened before
the tokenizer reads them.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cached_property

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from m3e_runtime.long_texts.components import is_bert, pieces_of
from m3e_runtime.long_texts.splits import Splits
from m3e_runtime.long_texts.unknown import UnknownCharacters

__all__ = ["RunReader"]

_KEPT = 1024
"""Characters that stay of a word, more than WordPiece's ``max_input_chars_per_word`` (100)."""

_BLOCK = 8 * _KEPT
"""Characters in one search, which holds the global interpreter lock."""

# What may be inside a word: not white space, ideographs, or the punctuation of Latin and Chinese texts.
_INSIDE = (
    r"[^\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f\u4e00-\u9fff"
    r"\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)
_SPACES, _WORD = re.compile(r"\s+"), re.compile(f"{_INSIDE}+")


class _Kind(Enum):
    """What a tokenizer makes of a character between two letters, however often it stands there."""

    SEPARATES = "white space that is dropped"
    VANISHES = "nothing"
    INSIDE = "part of the word, in one character or more"
    UNKNOWN = "in no token, so that any number of them is one unknown token"
    OTHER = "something else"


class RunReader:
    """Shortens the long runs in texts."""

    def __init__(self, tokenizer: Tokenizer, splits: Splits) -> None:
        self._tokenizer = tokenizer
        self._splits = splits
        self._unknown = UnknownCharacters(tokenizer)
        self._is_bert = is_bert(tokenizer)
        self._kinds: dict[str, _Kind] = {}

    def read(self, text: str, most: int) -> tuple[str, bool]:
        """A text with the same tokens as the beginning of ``text``, which may be longer.

        Args:
            text: any text.
            most: characters to return at most.

        Returns:
            The text, and whether it stands for all of ``text``.
        """
        if not self._splits.drops_spaces:
            return text[:most], most >= len(text)
        parts: list[str] = []
        at = size = 0
        while at < len(text) and size < most:
            part, at = self._next(text, at)
            parts.append(part)
            size += len(part)
        whole = "".join(parts)
        return whole[:most], at == len(text) and len(whole) <= most

    def _next(self, text: str, at: int) -> tuple[str, int]:
        """The text from ``at`` to the end of the next run, or of a block, and where that end is."""
        stop = min(at + _BLOCK, len(text))
        run = self._run.search(text, at, stop)
        if run is None:
            end = stop if stop == len(text) else stop - _KEPT  # a run may begin after that
            return text[at:end], end
        end, characters = _run_end(text, run.start(), _SPACES if run["space"] else self._word)
        is_last = end == len(text) or text[end] in self._splits.spaces
        kept = self._kept({self._kind(each) for each in characters}, end - run.start(), is_last)
        return text[at : run.start() + kept], end

    def _kept(self, kinds: set[_Kind], length: int, is_last: bool) -> int:
        """How many characters of a run are enough; ``is_last`` tells that its word ends with it."""
        if kinds == {_Kind.UNKNOWN} and is_last:
            return _KEPT
        if kinds == {_Kind.SEPARATES} or (kinds == {_Kind.VANISHES} and self._is_bert):
            return 1
        return _KEPT if kinds == {_Kind.INSIDE} and self._gives_up_words else length

    def _kind(self, character: str) -> _Kind:
        # Each of the steps for which this is asked judges a character by itself.
        kind = self._kinds.get(character)
        if kind is None:
            kind = self._kinds[character] = self._judge(character)
        return kind

    def _judge(self, character: str) -> _Kind:
        if self._unknown.possible and self._unknown.has(character):
            return _Kind.UNKNOWN
        return _compare(*(pieces_of(self._tokenizer, f"a{character * n}a") for n in (1, 3)))

    @cached_property
    def _run(self) -> re.Pattern[str]:
        return re.compile(rf"(?P<space>\s{{{_KEPT},}})|(?:{self._word.pattern[:-1]}){{{_KEPT},}}")

    @cached_property
    def _word(self) -> re.Pattern[str]:
        """What of a word can be a run."""
        return re.compile(f"{self._unknown.pattern}+") if self._unknown.possible else _WORD

    @cached_property
    def _gives_up_words(self) -> bool:
        """Whether any word of at least :data:`_KEPT` characters is one unknown token."""
        model = self._tokenizer.model
        if not self._is_bert or not isinstance(model, WordPiece) or model.max_input_chars_per_word >= _KEPT:
            return False
        added = self._tokenizer.get_added_tokens_decoder().values()
        return not any(_WORD.fullmatch(token.content) for token in added)


def _run_end(text: str, at: int, pattern: re.Pattern[str]) -> tuple[int, set[str]]:
    """Where the run that begins at ``at`` ends, and the characters in it."""
    characters: set[str] = set()
    while (more := pattern.match(text, at, at + _BLOCK)) is not None:
        characters.update(more[0])
        at = more.end()
    return at, characters


def _compare(one: list[str], three: list[str]) -> _Kind:
    if one == three == ["aa"]:
        return _Kind.VANISHES
    if one == three and len(one) == 2:
        return _Kind.SEPARATES
    # Of three characters at least three are left, beside the two letters.
    return _Kind.INSIDE if len(one) == len(three) == 1 and len(three[0]) >= 5 else _Kind.OTHER
