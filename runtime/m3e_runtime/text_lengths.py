"""How long a text may be to be tokenized as a whole."""

from __future__ import annotations

__all__ = ["longest_whole"]

_LEAST = 1 << 14
_CHARACTERS_PER_TOKEN = 16
"""Chinese has 1 to 2 characters a token, English 4 to 5."""


def longest_whole(max_length: int) -> int:
    """Characters of a text that is tokenized as a whole although only ``max_length`` tokens are kept."""
    return max(_LEAST, _CHARACTERS_PER_TOKEN * max_length)
