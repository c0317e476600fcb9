"""Long texts: the cost of tokenizing depends on the tokens that truncation keeps, not on the text's length.

A tokenizer reads a whole text before it truncates, and takes about 500 bytes of memory for a character. A
model keeps a few hundred tokens. So a long text is first cut by characters, at a place where the kept ids
provably stay the same.
"""

from m3e_runtime.long_texts.shortener import Shortener
from m3e_runtime.long_texts.special_tokens import SpecialToken, special_tokens
from m3e_runtime.long_texts.splits import Splits
from m3e_runtime.long_texts.tails import Tails

__all__ = ["Shortener", "SpecialToken", "Splits", "Tails", "special_tokens"]
