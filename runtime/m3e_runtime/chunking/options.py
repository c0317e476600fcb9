"""How texts are divided into chunks."""

from __future__ import annotations

import msgspec

from m3e_runtime.arguments import whole_number
from m3e_runtime.errors import OptionError

__all__ = ["ChunkOptions"]


class ChunkOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How texts are divided into chunks.

    Attributes:
        tokens: most tokens of a chunk, special ones and those of the prompt included; None: as many as the
            model takes.
        overlap: most tokens at the end of a chunk that the next one repeats, at most half of a chunk.
    """

    tokens: int | None = None
    overlap: int = 0

    def limit(self, max_length: int) -> int:
        """Most tokens of a chunk for a model that takes ``max_length``.

        Raises:
            OptionError: the tokens or the overlap of a chunk are out of range, or no whole numbers.
        """
        tokens = max_length
        if self.tokens is not None:
            tokens = whole_number("tokens of a chunk", self.tokens, 1, max_length)
        whole_number("overlap", self.overlap, 0)
        return tokens

    def room(self, limit: int, beside: int) -> int:
        """Tokens of text in a chunk of ``limit`` tokens, of which ``beside`` are special or of the prompt.

        Raises:
            OptionError: there is no room, or the overlap is more than half of it.
        """
        room = limit - beside
        if room < 1:
            raise OptionError(
                f"chunks of {limit} tokens have no room for text beside the {beside} special tokens and "
                "tokens of the prompt; make them longer."
            )
        if self.overlap > room // 2:
            raise OptionError(
                f"overlap={self.overlap}: at most half of the {room} tokens of text in a chunk, {room // 2}."
            )
        return room
