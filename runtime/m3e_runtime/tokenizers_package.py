"""Tokenizing with the package ``tokenizers``: the reference, and for files that the engine does not read.

The package is an extra. It is imported when it is needed, since that costs time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from m3e_runtime.extras import extra_packages
from m3e_runtime.under_way import under_way

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from m3e_runtime.long_texts import Shortener

__all__ = ["PackageTokenizer"]

TokenIds = npt.NDArray[np.int32]


class PackageTokenizer:
    """A ``tokenizers.Tokenizer`` that truncates texts at ``max_length`` tokens. Its padding is turned off.

    The methods raise a TypeError for what is not a string, and for a lone surrogate.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.special_tokens: int = tokenizer.num_special_tokens_to_add(is_pair=False)

    @staticmethod
    def parse(json: bytes, max_length: int, purpose: str) -> PackageTokenizer:
        """Load the content of a ``tokenizer.json``.

        Args:
            json: the content.
            max_length: tokens that truncation keeps, special ones included.
            purpose: what needs the package, for the message if it is missing.

        Raises:
            DependencyMissingError: the package is not installed.
            Exception: it is not a tokenizer; the package has no narrower type.
        """
        with extra_packages(purpose, "tokenizers", "tokenizers"):
            from tokenizers import Tokenizer

        return PackageTokenizer(Tokenizer.from_buffer(json), max_length)

    @property
    def name(self) -> str:
        """The package and its version."""
        from tokenizers import __version__

        return f"tokenizers {__version__}"

    @property
    def vocabulary_size(self) -> int:
        """Largest token id + 1. The package's own number of tokens is less where ids have gaps."""
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        special = self.tokenizer.encode("").ids
        return 1 + max((*vocabulary.values(), *special), default=-1)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that the file marks as special."""
        added = self.tokenizer.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if token.special)

    def limited(self, max_length: int) -> PackageTokenizer:
        """A copy with another limit."""
        return PackageTokenizer(deepcopy(self.tokenizer), max_length)

    def encode(self, text: str) -> TokenIds:
        """Token ids of one text, int32 ``[length]``. Holds the global interpreter lock."""
        return np.array(self.tokenizer.encode(self._shortener.shorten(text)).ids, dtype=np.int32)

    @under_way()
    def encode_batch(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """Token ids of each text, and whether it was truncated. Releases the global interpreter lock."""
        encodings = self.tokenizer.encode_batch_fast(self._shortened(texts))
        ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        return ids, [bool(encoding.overflowing) for encoding in encodings]

    def count(self, text: str) -> int:
        """Number of tokens of a text that is not truncated."""
        encoding = self.tokenizer.encode(text)  # in pieces, each with special tokens of its own
        rest = sum(len(piece.ids) - self.special_tokens for piece in encoding.overflowing)
        return len(encoding.ids) + rest

    def _shortened(self, texts: Sequence[str]) -> Sequence[str]:
        if max(map(len, texts), default=0) <= self._shortener.longest:
            return texts
        return [self._shortener.shorten(text) if isinstance(text, str) else text for text in texts]

    @cached_property
    def _shortener(self) -> Shortener:
        from m3e_runtime.long_texts import Shortener

        return Shortener(self.tokenizer, self.max_length)
