"""The chunks of texts, and what the model reads for their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from m3e_runtime.chunking.chunker import Chunk, Chunker
from m3e_runtime.chunking.options import ChunkOptions
from m3e_runtime.chunking.windows import LateWindow, WindowReader
from m3e_runtime.tokenization import TokenIds

if TYPE_CHECKING:
    from m3e_runtime.encoding.chunks import ChunkEncoding

__all__ = ["ChunkTokenizer", "TokenizedChunks"]


class TokenizedChunks(NamedTuple):
    """The chunks of texts, and what the model reads for their vectors.

    Attributes:
        chunks: the chunks of each text.
        windows: for late chunking, the windows of all texts; they have all chunks in their order. None
            without it: the model reads chunk by chunk.
    """

    chunks: list[list[Chunk]]
    windows: list[LateWindow] | None

    @property
    def token_ids(self) -> list[TokenIds]:
        """What the model reads: the tokens of windows, or else of chunks."""
        if self.windows is not None:
            return [window.token_ids for window in self.windows]
        return [chunk.token_ids for chunk in chain.from_iterable(self.chunks)]


class ChunkTokenizer:
    """Divides texts into chunks for a model. Several threads can share it.

    Args:
        encoder: the model.
        options: the length of chunks, and whether chunking is late.

    Raises:
        OptionError: the options are out of range, or the model cannot be used for late chunking.
    """

    def __init__(self, encoder: ChunkEncoding, options: ChunkOptions) -> None:
        self._chunker = Chunker(encoder.tokenizer, options)
        self._reader: WindowReader | None = None
        if options.late:
            encoder.late_pooling  # noqa: B018 - raises an error where there is none
            self._reader = WindowReader(encoder.tokenizer, encoder.bundle.manifest.include_prompt)

    def check_prompt(self, prompt: str) -> None:
        """Check that a prompt leaves room for text, and for the overlap.

        Raises:
            OptionError: it does not.
        """
        self._chunker.room(prompt)

    def tokenize(
        self, texts: Sequence[str], prompts: str | Sequence[str] = "", first: int = 0, most: int | None = None
    ) -> TokenizedChunks:
        """Divide texts; the arguments and errors are those of :meth:`Chunker.chunks_of_each`."""
        chunks: list[list[Chunk]] = []
        windows: list[LateWindow] = []
        for some, its_windows in self.each(texts, prompts, first, most):
            chunks.append(some)
            windows += its_windows
        return TokenizedChunks(chunks, None if self._reader is None else windows)

    def each(
        self, texts: Sequence[str], prompts: str | Sequence[str] = "", first: int = 0, most: int | None = None
    ) -> Iterator[tuple[list[Chunk], list[LateWindow]]]:
        """The chunks of each text, and its windows, of which there are none without late chunking.

        The arguments and errors are those of :meth:`Chunker.chunks_of_each`.
        """
        each = [prompts] * len(texts) if isinstance(prompts, str) else prompts
        found = self._chunker.chunks_of_each(texts, prompts, first, most)
        for text, prompt, chunks in zip(texts, each, found, strict=True):
            yield chunks, [] if self._reader is None else list(self._reader.windows(text, prompt, chunks))
