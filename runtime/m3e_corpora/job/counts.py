"""What became of rows."""

from __future__ import annotations

import msgspec

__all__ = ["Counts"]


class Counts(msgspec.Struct, frozen=True):
    """What became of rows.

    ``texts`` have a vector; ``duplicates`` of them were computed for an equal text before in the window, and
    ``truncated`` ones were longer than the model takes. ``tokens`` were asked of the engine, which computed
    ``computed_tokens``, padding included. ``skipped`` rows have no vector.
    """

    texts: int = 0
    duplicates: int = 0
    truncated: int = 0
    skipped: int = 0
    tokens: int = 0
    computed_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(
                a + b
                for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
            )
        )
