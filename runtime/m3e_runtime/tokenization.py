"""Texts to token ids, truncated at the model's maximum length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from m3e_runtime.errors import BundleError, InvalidTextError, TextTooLongError
from m3e_runtime.long_texts import Shortener, Splits, Tails
from m3e_runtime.under_way import under_way

__all__ = ["TextTokenizer"]

TokenIds = npt.NDArray[np.int32]

_PIECE_TEXTS = 1024
_PIECE_CHARACTERS = 1 << 19
"""Limits of one call to the tokenizer. Signals wait for its end, some tenths of a second."""


@dataclass(frozen=True)
class TextTokenizer:
    """A fast tokenizer with the model's truncation. Safe to use from several threads."""

    tokenizer: Tokenizer
    max_length: int

    @staticmethod
    def from_file(path: Path, max_length: int) -> TextTokenizer:
        """Load a ``tokenizer.json``.

        Raises:
            BundleError: the file is not a tokenizer.
        """
        try:
            tokenizer = Tokenizer.from_buffer(path.read_bytes())  # Tokenizer.from_file takes UTF-8 names only
        except Exception as error:  # the library raises a bare Exception
            raise BundleError(f"{path}: not a tokenizer.json ({error}).") from error
        return TextTokenizer.wrap(tokenizer, max_length)

    @staticmethod
    def wrap(tokenizer: Tokenizer, max_length: int) -> TextTokenizer:
        """Wrap ``tokenizer``. Its padding and truncation are replaced by the model's."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        return TextTokenizer(tokenizer, max_length)

    def limited(self, max_length: int) -> TextTokenizer:
        """A copy that truncates texts at ``max_length`` tokens."""
        if max_length == self.max_length:
            return self
        return TextTokenizer.wrap(deepcopy(self.tokenizer), max_length)

    def encode(self, text: str, truncate: bool = True) -> TokenIds:
        """Token ids of one text with special tokens, int32 ``[length]``, length ≤ ``max_length``.

        Holds the global interpreter lock. Use it for short texts, which take microseconds.

        Raises:
            InvalidTextError: not a string, or a lone surrogate in it.
            TextTooLongError: it is too long, and ``truncate`` is false.
        """
        try:
            encoding = self.tokenizer.encode(self._shortener.shorten(text))
        except TypeError as error:
            raise _explain([text]) from error
        if not truncate:
            self._check_lengths([text], [encoding])
        return np.array(encoding.ids, dtype=np.int32)

    def prompt_length(self, prompt: str) -> int:
        """Number of tokens of ``prompt`` at the start of a text, with the special tokens before it.

        Counted as in sentence-transformers: the tokens of the prompt alone, without a special token at its
        end. An empty prompt has none.

        Raises:
            InvalidTextError: as :meth:`encode`.
        """
        if not prompt:
            return 0
        ids = self.encode(prompt).tolist()
        return len(ids) - sum(last in self._special_ids for last in ids[-1:])

    def encode_tails(self, texts: Sequence[str]) -> list[TokenIds]:
        """As :meth:`encode_batch`, but texts that are too long keep their last tokens.

        Raises:
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            TextTooLongError: a text is too long to find the tokens of its end.
        """
        try:
            return [np.array(self._tails.ids(text), dtype=np.int32) for text in texts]
        except TypeError as error:
            raise _explain(texts) from error

    @cached_property
    def _tails(self) -> Tails:
        return Tails(self.tokenizer, self.splits, self.max_length, self._shortener.longest)

    @cached_property
    def splits(self) -> Splits:
        """The places where a text can be split before it is tokenized."""
        return Splits(self.tokenizer)

    @cached_property
    def _shortener(self) -> Shortener:
        return Shortener(self.tokenizer, self.max_length)

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        added = self.tokenizer.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if token.special)

    def encode_batch(self, texts: Sequence[str], truncate: bool = True) -> list[TokenIds]:
        """Token ids of each text. Releases the global interpreter lock and uses several threads.

        Raises:
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            TextTooLongError: one of them is too long, and ``truncate`` is false.
        """
        encodings = self._encodings(texts)
        if not truncate:
            self._check_lengths(texts, encodings)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def encode_in_pieces(self, texts: list[str]) -> list[TokenIds]:
        """As :meth:`encode_batch`, in calls of bounded size, between which signal handlers run."""
        token_ids: list[TokenIds] = []
        for piece in _pieces(texts):
            token_ids += self.encode_batch(piece)
        return token_ids

    def encode_batch_marked(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """As :meth:`encode_batch`, and for each text whether it was truncated."""
        encodings = self._encodings(texts)
        ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        return ids, [bool(encoding.overflowing) for encoding in encodings]

    @under_way()
    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        try:
            encodings: list[Encoding] = self.tokenizer.encode_batch_fast(self._shortened(texts))
        except TypeError as error:
            raise _explain(texts) from error
        return encodings

    def _shortened(self, texts: Sequence[str]) -> Sequence[str]:
        if max(map(len, texts), default=0) <= self._shortener.longest:
            return texts
        return [self._shortener.shorten(text) if isinstance(text, str) else text for text in texts]

    def _check_lengths(self, texts: Sequence[str], encodings: Sequence[Encoding]) -> None:
        for index, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            if rest := encoding.overflowing:  # in pieces, each with special tokens of its own
                special = self.tokenizer.num_special_tokens_to_add(is_pair=False)
                length = len(encoding.ids) + sum(len(piece.ids) - special for piece in rest)
                at_least = "at least " if len(text) > self._shortener.longest else ""
                raise TextTooLongError(
                    f"text {index} has {at_least}{length} tokens, and the model takes {self.max_length}; "
                    "shorten it, or let it be truncated."
                )


def _explain(texts: Sequence[object]) -> InvalidTextError:
    """Find the text that the tokenizer rejected. It runs after a failure only, to keep the hot path short."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            return InvalidTextError(
                f"text {index} is {type(text).__name__}, not str; pass a string or a list of strings."
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return InvalidTextError(
                f"text {index} holds a lone surrogate at character {error.start}; it is not valid Unicode. "
                "Clean it first, e.g. text.encode('utf-8', 'replace').decode()."
            )
    return InvalidTextError("a text could not be tokenized.")


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    """Split ``texts`` into lists of bounded size."""
    piece: list[str] = []
    characters = 0
    for text in texts:
        piece.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if characters >= _PIECE_CHARACTERS or len(piece) == _PIECE_TEXTS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece
