"""Finds a prefix of a text with all the tokens that truncation keeps."""

from __future__ import annotations

from functools import cached_property

from tokenizers import Tokenizer

from m3e_runtime.long_texts.last_word import LastWord
from m3e_runtime.long_texts.runs import RunReader
from m3e_runtime.long_texts.splits import Splits
from m3e_runtime.text_lengths import longest_whole
from m3e_runtime.under_way import under_way

__all__ = ["Shortener"]

_GROWTH = 4
"""Factor by which a prefix with too few tokens grows."""


class Shortener:
    """Shortens texts before they are tokenized.

    Args:
        tokenizer: truncates at ``max_length``.
        max_length: tokens that are kept, special ones included.
        longest: characters of a text that is left alone; by default by ``max_length``.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, longest: int | None = None) -> None:
        self.longest = longest or longest_whole(max_length)
        self._tokenizer = tokenizer
        self._most_tokens = max_length - tokenizer.num_special_tokens_to_add(is_pair=False)

    def shorten(self, text: str) -> str:
        """A text that is tokenized as ``text`` is: to the same ids, and cut or not cut alike.

        A text of up to ``longest`` characters comes back as it is.
        """
        least = self.longest // 2
        while len(text) > self.longest:
            read, is_all = self._runs.read(text, least + least // 2)
            if is_all:
                return read
            beginning = self._certain_beginning(read, least)
            if beginning is not None:
                return beginning
            least *= _GROWTH
        return text

    def _certain_beginning(self, text: str, least: int) -> str | None:
        """A beginning of ``text`` with more tokens than are kept, none of which depends on what follows it.

        It has at least so many characters. None: there is none in ``text``, or that is not certain.
        """
        split = self._splits.search(text, least)
        beginning = text[: self._last_word.end(text, least) if split is None else split]
        is_certain = split is not None or self._last_word.settles(beginning, self._most_tokens)
        return beginning if is_certain and self._overflows(beginning) else None

    def _overflows(self, text: str) -> bool:
        # Only the batch function releases the global interpreter lock.
        with under_way():
            return bool(self._tokenizer.encode_batch_fast([text])[0].overflowing)

    @cached_property
    def _splits(self) -> Splits:
        return Splits(self._tokenizer)

    @cached_property
    def _runs(self) -> RunReader:
        return RunReader(self._tokenizer, self._splits)

    @cached_property
    def _last_word(self) -> LastWord:
        return LastWord(self._tokenizer, self._splits)
