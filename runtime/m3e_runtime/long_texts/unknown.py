"""Characters that a Unigram model knows in no token: a run of them is one unknown token, however long.

No token of the vocabulary has such a character in it. So the best path to any place of the run goes through
every place before it, and all the unknown tokens on the way become one. If the word ends with the run, there
is nothing behind it whose scores could be rounded in another way. Normalization has to leave each character
of the run as if it stood alone, which the standard says of those that are taken here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

from tokenizers import Tokenizer
from tokenizers.models import Unigram

from m3e_runtime.long_texts.components import normalized, pre_tokenizer_steps

__all__ = ["UnknownCharacters"]

_WITHIN_WORDS = ("Metaspace", "WhitespaceSplit")
"""Pre-tokenizers that divide at white space only."""

_JOINS = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\u0d4e\U0001f1e6-\U0001f1ff]")
"""Letters of Hangul, the one letter of the basic plane that joins what follows, letters of flags."""

_ALONE = re.compile("[^\x00-\x7f\U00010000-\U0010ffff]|[\U0001f300-\U0001faff\U00020000-\U000323af]")
"""The basic plane less ASCII, emoji, and rare ideographs."""

_CATEGORIES = ("L", "N", "S", "P")
"""Not among them are marks, which join the character before them, and what is invisible or unassigned."""


class UnknownCharacters:
    """Tells which characters ``tokenizer`` knows in no token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        steps = [step["type"] for step in pre_tokenizer_steps(tokenizer)]
        self.possible = isinstance(tokenizer.model, Unigram) and all(each in _WITHIN_WORDS for each in steps)

    @cached_property
    def pattern(self) -> str:
        """Matches characters outside of the vocabulary, except white space."""
        return f"[^\\s{''.join(map(re.escape, sorted(self._known)))}]"

    def has(self, character: str) -> bool:
        """Whether any number of ``character`` in a word is one unknown token."""
        read = normalized(self._tokenizer, character)
        if not all(map(_stands_alone, character + read)) or not read or not self._known.isdisjoint(read):
            return False
        letter = normalized(self._tokenizer, "a")
        is_local = normalized(self._tokenizer, f"a{character * 3}a") == letter + 3 * read + letter
        return is_local and len(self._ids(read)) == 1 and self._ids(read) == self._ids(3 * read)

    def _ids(self, word: str) -> list[int]:
        return [token.id for token in self._tokenizer.model.tokenize(word)]

    @cached_property
    def _known(self) -> frozenset[str]:
        written = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        read = (normalized(self._tokenizer, content) for content in written)
        return frozenset("".join([*self._tokenizer.get_vocab(with_added_tokens=True), *written, *read]))


def _stands_alone(character: str) -> bool:
    return (
        _ALONE.fullmatch(character) is not None
        and _JOINS.fullmatch(character) is None
        and unicodedata.category(character)[0] in _CATEGORIES
    )
