"""How texts are divided into chunks."""

from __future__ import annotations

from typing import Any

import msgspec

from m3e_runtime.arguments import check_flag, whole_number
from m3e_runtime.errors import OptionError

__all__ = ["LATE_TOKENS", "ChunkOptions", "check_chunk_options"]

LATE_TOKENS = 256
"""Default length of the chunks of late chunking, which are parts of what the model takes."""


class ChunkOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How texts are divided into chunks.

    Attributes:
        tokens: most tokens of a chunk, special ones and those of the prompt included; None: as many as the
            model takes, and for late chunking no more than :data:`LATE_TOKENS`.
        overlap: most tokens at the end of a chunk that the next one repeats, at most half of a chunk.
        late: late chunking (Günther et al. 2024, https://arxiv.org/abs/2409.04701): the model reads as many
            chunks at once as it takes, and each chunk's vector is the mean of its tokens' states.
    """

    tokens: int | None = None
    overlap: int = 0
    late: bool = False

    def limit(self, max_length: int) -> int:
        """Most tokens of a chunk for a model that takes ``max_length``.

        Raises:
            OptionError: an option is out of range, or of another type.
        """
        check_flag("late", self.late)
        whole_number("overlap", self.overlap, 0)
        if self.tokens is not None:
            return whole_number("tokens", self.tokens, 1, max_length, ": so many tokens have chunks")
        return min(max_length, LATE_TOKENS) if self.late else max_length

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


def check_chunk_options(options: Any) -> ChunkOptions:
    """``options`` themselves.

    Raises:
        OptionError: they are something else.
    """
    if not isinstance(options, ChunkOptions):
        raise OptionError(f"chunking={options!r} is {type(options).__name__}, not ChunkOptions.")
    return options
