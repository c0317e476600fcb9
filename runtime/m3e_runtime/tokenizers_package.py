"""Tokenizing with the package ``tokenizers``: the reference, and for files that the engine does not read.

The package is an extra. It is imported when it is needed, since that costs time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from m3e_runtime.extras import extra_packages
from m3e_runtime.pairs import PairTemplate, TokenizedPairs, kept_tokens
from m3e_runtime.under_way import under_way

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from m3e_runtime.long_texts import Shortener, Splits

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

    @cached_property
    def pair_template(self) -> PairTemplate:
        """The special tokens around the two texts of a pair.

        Raises:
            BundleError: as :meth:`m3e_runtime.pairs.PairTemplate.of`.
        """
        return PairTemplate.of(self.tokenizer)

    @property
    def pair_special_tokens(self) -> int:
        """Number of special tokens that a pair gets."""
        return self.pair_template.special_tokens

    def encode_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> TokenizedPairs:
        """Token ids of pairs, truncated as ``longest_first`` does. Each distinct text is tokenized once.

        The package itself would make an encoding of every combination of the parts that it cuts off.
        """
        texts = list(dict.fromkeys([*firsts, *seconds]))
        ids = dict(zip(texts, self._without_special_tokens(texts), strict=True))
        template = self.pair_template
        room, count = self.max_length - template.special_tokens, cache(self._count_in_parts)
        pairs = TokenizedPairs([], [], [])
        for first, second in zip(firsts, seconds, strict=True):
            known = len(ids[first]), len(ids[second])
            # If both have more than there is room for, it matters which of them has still more.
            lengths = (count(first), count(second)) if min(known) > room and room % 2 else known
            kept = kept_tokens(*lengths, room)
            joined = template.join(ids[first][: kept[0]], ids[second][: kept[1]])
            pairs.ids.append(joined[0])
            pairs.types.append(joined[1])
            pairs.cut.append(kept != known)
        return pairs

    def _count_in_parts(self, text: str) -> int:
        """:meth:`count` without special tokens, in memory that does not grow with the text."""
        parts = (part for _, part in self._splits.parts(text, self._shortener.longest))
        return sum(self.count(part) - self.special_tokens for part in parts)

    @under_way()
    def _without_special_tokens(self, texts: Sequence[str]) -> list[TokenIds]:
        """All tokens of each text; of a long one, more than truncation keeps."""
        encodings = self.tokenizer.encode_batch_fast(self._shortened(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

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
    def _splits(self) -> Splits:
        from m3e_runtime.long_texts import Splits

        return Splits(self.tokenizer)

    @cached_property
    def _shortener(self) -> Shortener:
        from m3e_runtime.long_texts import Shortener

        return Shortener(self.tokenizer, self.max_length)
