"""Encodes texts in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.chunking.chunked_text import ChunkedText
from m3e_runtime.chunking.chunker import Chunk
from m3e_runtime.chunking.options import ChunkOptions
from m3e_runtime.chunking.parts import Parts
from m3e_runtime.chunking.tokenizing import ChunkTokenizer, TokenizedChunks
from m3e_runtime.chunking.windows import LateWindow
from m3e_runtime.outputs import OutputOptions

if TYPE_CHECKING:
    from m3e_runtime.encoding.chunks import ChunkEncoding

__all__ = ["ChunkEncoder", "split_by_text"]

Vectors = npt.NDArray[np.float32]

_TEXTS = 1024
"""Texts that are divided and computed together."""


class ChunkEncoder:
    """Encodes texts in chunks with one encoder.

    Args:
        encoder: computes the chunks.
        options: the length of chunks; None: the default.
        batch_size: as in :meth:`m3e_runtime.Encoder.encode`.

    Raises:
        OptionError: the options are out of range, or the model cannot be used for late chunking.
    """

    def __init__(self, encoder: ChunkEncoding, options: ChunkOptions | None, batch_size: int | None) -> None:
        self._encoder = encoder
        self._batch_size = batch_size
        self._tokenizer = ChunkTokenizer(encoder, ChunkOptions() if options is None else options)

    def encode(
        self, texts: Sequence[str], prompts: Sequence[str], output: OutputOptions, bar: Any
    ) -> list[ChunkedText]:
        """Encode texts, each with its prompt. ``bar`` shows the progress; None: nothing does.

        Raises:
            InvalidTextError: as :meth:`m3e_runtime.Encoder.encode_chunks`.
            OptionError: as :meth:`m3e_runtime.Encoder.encode_chunks`.
        """
        chunks: list[list[Chunk]] = []
        vectors = [np.empty((0, self._encoder.full_dimension), np.float32)]
        for start in range(0, len(texts), _TEXTS):
            their_prompts = prompts[start : start + _TEXTS]
            found = self._tokenizer.tokenize(texts[start : start + _TEXTS], their_prompts, start)
            vectors.append(self._vectors(found, their_prompts))
            chunks += found.chunks
            if bar is not None:
                bar.update(len(their_prompts))
        return split_by_text(chunks, output.apply(np.concatenate(vectors)))

    def _vectors(self, found: TokenizedChunks, prompts: Sequence[str]) -> Vectors:
        if found.windows is not None:
            return self._of_windows(found.windows)
        ids = found.token_ids
        each = [prompt for prompt, some in zip(prompts, found.chunks, strict=True) for _ in some]
        vectors = np.empty((len(ids), self._encoder.full_dimension), np.float32)
        for batch, some in self._encoder.run(ids, self._batch_size, self._encoder.prompt_lengths(each)):
            vectors[batch.indices] = some
        return vectors

    def _of_windows(self, windows: Sequence[LateWindow]) -> Vectors:
        ids = [window.token_ids for window in windows]
        parts = Parts([window.tokens for window in windows], self._encoder.late_pooling)
        return parts.vectors(self._encoder.run_states(ids, self._batch_size), self._encoder.full_dimension)


def split_by_text(chunks: Sequence[Sequence[Chunk]], vectors: npt.NDArray[Any]) -> list[ChunkedText]:
    """The vectors of all chunks of all texts, ``[chunks, dimension]``, text by text."""
    split = []
    first = 0
    for some in chunks:
        start = np.array([chunk.start for chunk in some], np.int64)
        end = np.array([chunk.end for chunk in some], np.int64)
        split.append(ChunkedText(vectors[first : first + len(some)], start, end))
        first += len(some)
    return split
