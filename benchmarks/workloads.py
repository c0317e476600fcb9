"""What is encoded: single texts of fixed lengths, and a corpus of mixed ones."""

from __future__ import annotations

import numpy as np

__all__ = ["SINGLE_LENGTHS", "batch", "corpus", "single", "token_lengths"]

SINGLE_LENGTHS = (12, 32, 128, 512)
"""Tokens of the single texts, special tokens included."""

_CHARACTERS = 3000


def single(tokens: int) -> str:
    """A text of exactly ``tokens`` tokens: every Chinese character is one, [CLS] and [SEP] are two."""
    return _text(np.random.default_rng(tokens), tokens - 2)


def batch(texts: int, tokens: int) -> list[str]:
    """Different texts of exactly ``tokens`` tokens each."""
    random = np.random.default_rng(tokens)
    return [_text(random, tokens - 2) for _ in range(texts)]


def corpus(texts: int) -> list[str]:
    """Texts with log-normal lengths: mean about 47 tokens, the longest cut at 512."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(3.55, 0.75, texts), 1, 510).astype(int)
    return [_text(random, length) for length in lengths]


def token_lengths(texts: list[str]) -> list[int]:
    """Tokens of each text, special tokens included."""
    return [len(text) + 2 for text in texts]


def _text(random: np.random.Generator, characters: int) -> str:
    return "".join(chr(0x4E00 + int(n)) for n in random.integers(0, _CHARACTERS, characters))
