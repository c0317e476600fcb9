"""The last tokens of texts, for truncation at the left."""

from __future__ import annotations

from tokenizers import Tokenizer

from m3e_runtime.errors import TextTooLongError
from m3e_runtime.long_texts.special_tokens import special_tokens
from m3e_runtime.long_texts.splits import Splits
from m3e_runtime.under_way import under_way

__all__ = ["Tails"]

_LONGEST = 1 << 17
"""Most characters at the end of a text that are tokenized, at some 500 bytes of memory for each."""

_GROWTH = 4


class Tails:
    """Tokenizes texts and keeps their last tokens.

    Args:
        tokenizer: truncates at ``max_length``, at the right.
        splits: of ``tokenizer``.
        max_length: tokens that are kept, special ones included.
        longest: characters of a text that is tokenized whole.
    """

    def __init__(self, tokenizer: Tokenizer, splits: Splits, max_length: int, longest: int) -> None:
        self._tokenizer = tokenizer
        self._splits = splits
        self._longest = longest
        self._before, self._after = ([number for number, _ in side] for side in special_tokens(tokenizer))
        self._most = max_length - len(self._before) - len(self._after)

    def ids(self, text: str) -> list[int]:
        """Token ids of ``text``, special ones included; of a text with too many, the last ones.

        Raises:
            TextTooLongError: no place is known where the end of a long text can be told from the rest.
        """
        kept = self._content(text)[-self._most :] if self._most else []
        return [*self._before, *kept, *self._after]

    def _content(self, text: str) -> list[int]:
        """At least the last tokens that are kept, where there are so many; without special ones."""
        size = self._longest
        while size < len(text):
            start = self._splits.search(text, len(text) - size)
            found = self._tokens(text[start:]) if start is not None else []
            if len(found) >= self._most:
                return found
            size *= _GROWTH
            if size > _LONGEST:
                raise TextTooLongError(
                    f"a text of {len(text)} characters cannot be cut at the left: its last tokens are not "
                    f"known from its last {_LONGEST} characters. Send its end alone."
                )
        return self._tokens(text)

    def _tokens(self, text: str) -> list[int]:
        with under_way():
            (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return [number for part in (encoding, *encoding.overflowing) for number in part.ids]
