"""Counts of rows and tokens."""

from __future__ import annotations

import msgspec

__all__ = ["Counts"]


class Counts(msgspec.Struct, frozen=True):
    """How many rows and tokens were processed, and how.

    Attributes:
        texts: texts that have a vector.
        duplicates: texts among them that share the vector of an equal text in the same window.
        truncated: texts among them that were longer than the model's limit.
        skipped: rows without a vector.
        tokens: tokens of the texts that the engine computed.
        computed_tokens: the same with padding.
        divided: rows of the input that are several texts here, one for each chunk.
    """

    texts: int = 0
    duplicates: int = 0
    truncated: int = 0
    skipped: int = 0
    tokens: int = 0
    computed_tokens: int = 0
    divided: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(
                a + b
                for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
            )
        )

    @property
    def padding_share(self) -> float:
        """Share of padding in the computed tokens."""
        return 1 - self.tokens / self.computed_tokens if self.computed_tokens else 0.0
