"""Tokens of a word that goes on: which of them stay whatever follows.

Byte-pair encoding and Unigram have a property that WordPiece has not: if a token of a word ends at some
place, the tokens before it are those of the word up to that place alone. (Unigram: the best path to a place
depends on nothing after it. Byte-pair encoding: no merge crosses the place, so that the two sides are merged
independently.) No token is longer than the longest of the vocabulary, so that the whole word has a token that
ends somewhere in the last so many characters of a beginning of it. Where the tokens for every one of these
places begin alike, the whole word begins so too.
"""

from __future__ import annotations

import re
from functools import cached_property

from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram

from m3e_runtime.long_texts.components import normalized, normalizer_steps, pieces_of, pre_tokenizer_steps
from m3e_runtime.long_texts.splits import Splits

__all__ = ["LastWord"]

_KNOWN = ("BertPreTokenizer", "ByteLevel", "Metaspace", "WhitespaceSplit")
"""Pre-tokenizers that go from left to right, so that what follows a text changes its last word only."""

_UNSETTLED = 4
"""Characters at the end of a word that depend on what follows: a letter that an accent may join, which
ByteLevel writes as up to three characters."""

_CHARACTERS_PER_TOKEN = 4  # of a first try
_GROWTH = 2

_PLAIN = re.compile(r"(?<=[0-9A-Za-z\u4e00-\u9fa5])[0-9A-Za-z\u4e00-\u9fa5]")
"""The second of two letters, digits or ideographs: nothing after it changes the first."""

_PLAIN_OR_TWICE = re.compile(rf"{_PLAIN.pattern}|(?<=(.))\1", re.DOTALL)
"""Where nothing is normalized, any character that stands there twice is as good."""

_BRACKETED = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")
"""Contents of added tokens that cannot overlap each other in a text."""


class LastWord:
    """Judges texts that end inside a word of unknown length."""

    def __init__(self, tokenizer: Tokenizer, splits: Splits) -> None:
        self._tokenizer = tokenizer
        self._splits = splits

    def end(self, text: str, least: int) -> int:
        """A place to cut ``text`` for :meth:`settles`, not before ``least`` characters; 0: there is none."""
        found = self._plain.search(text, least)
        return found.end() if found is not None else 0

    def settles(self, text: str, count: int) -> bool:
        """Whether any text that begins with ``text`` begins with its first ``count`` tokens.

        False where that is not certain.
        """
        if not self._is_known or self.end(text, len(text) - 1) == 0 or self._length_of(text[-1]) != 1:
            return False
        start = max(self._splits.last(text), self._last_added_token(text))
        if self._may_hold_added_token(text[start:]):
            return False
        *words, last = pieces_of(self._tokenizer, text[start:]) or [""]
        before = self._count(text[:start]) + sum(len(self._ids(word)) for word in words)
        return before >= count or self._begins_alike(last[:-_UNSETTLED], count - before)

    def _begins_alike(self, word: str, count: int) -> bool:
        """Whether any word that begins with ``word`` begins with its first ``count`` tokens."""
        size = _CHARACTERS_PER_TOKEN * count + self._longest
        while size < len(word):
            if self._all_begin_alike(word[:size], count):
                return True
            size *= _GROWTH
        return self._all_begin_alike(word, count)

    def _all_begin_alike(self, word: str, count: int) -> bool:
        first: list[int] | None = None
        for stop in range(len(word), len(word) - self._longest, -1):
            ids = self._ids(word[: max(0, stop)])
            if len(ids) <= count or (first is not None and ids[:count] != first):
                return False  # the last token may be an unknown one that grows
            first = ids[:count]
        return True

    def _ids(self, word: str) -> list[int]:
        return [token.id for token in self._tokenizer.model.tokenize(word)]

    def _count(self, text: str) -> int:
        """Tokens of ``text``, special ones that are put around it left out."""
        encoding = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
        return sum(len(part.ids) for part in (encoding, *encoding.overflowing))

    def _length_of(self, character: str) -> int:
        return len(normalized(self._tokenizer, character))

    def _last_added_token(self, text: str) -> int:
        """Where the last one ends; 0: there is none, or they may overlap, or take in what follows them."""
        tokens = self._tokenizer.get_added_tokens_decoder().values()
        if any(each.rstrip or each.single_word or not _BRACKETED.fullmatch(each.content) for each in tokens):
            return 0
        return max(
            (text.rfind(each.content) + len(each.content) for each in tokens if each.content in text),
            default=0,
        )

    def _may_hold_added_token(self, text: str) -> bool:
        """Whether there is one, or what may become one at the end."""
        both = (text, normalized(self._tokenizer, text))
        return any(content in each or _ends_in(each, content) for content in self._added for each in both)

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        return _PLAIN if normalizer_steps(self._tokenizer) else _PLAIN_OR_TWICE

    @cached_property
    def _is_known(self) -> bool:
        steps = pre_tokenizer_steps(self._tokenizer)
        return (
            self._splits.known
            and all(step["type"] in _KNOWN for step in steps)
            and _is_deterministic(self._tokenizer.model)
        )

    @cached_property
    def _added(self) -> set[str]:
        contents = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        return {*contents, *(normalized(self._tokenizer, content) for content in contents)}

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest token, as the model sees them: ByteLevel makes one of each byte."""
        return max(
            max(map(len, self._tokenizer.get_vocab(with_added_tokens=False)), default=1),
            max((len(content.encode()) for content in self._added), default=1),
        )


def _ends_in(text: str, content: str) -> bool:
    """Whether ``text`` ends with a beginning of ``content``."""
    return any(text.endswith(content[:length]) for length in range(1, len(content)))


def _is_deterministic(model: object) -> bool:
    """Whether it is the plain kind of which the module's description holds."""
    if isinstance(model, Unigram):
        return getattr(model, "alpha", None) is None and getattr(model, "nbest_size", None) is None
    return isinstance(model, BPE) and not (
        model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix or model.ignore_merges
    )
