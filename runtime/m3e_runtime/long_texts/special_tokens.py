"""The special tokens that a tokenizer puts around a text."""

from __future__ import annotations

from tokenizers import Tokenizer

__all__ = ["SpecialToken", "special_tokens"]

SpecialToken = tuple[int, str]
"""Its id, and how it is written."""


def special_tokens(tokenizer: Tokenizer) -> tuple[list[SpecialToken], list[SpecialToken]]:
    """Those before a text, and those after it."""
    encoding = tokenizer.encode("a")
    tokens, mask = list(zip(encoding.ids, encoding.tokens, strict=True)), encoding.special_tokens_mask
    return tokens[: mask.index(0)], tokens[len(mask) - mask[::-1].index(0) :]
