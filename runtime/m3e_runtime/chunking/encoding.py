"""Encodes texts in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.chunking.chunked_text import ChunkedText
from m3e_runtime.chunking.chunker import Chunk, Chunker
from m3e_runtime.chunking.late import LateChunks
from m3e_runtime.chunking.options import ChunkOptions
from m3e_runtime.outputs import OutputOptions
from m3e_runtime.tokenization import TokenIds

if TYPE_CHECKING:
    from m3e_runtime.encoder import Encoder

__all__ = ["ChunkEncoder", "split_by_text"]

Vectors = npt.NDArray[np.float32]
StateRun = Callable[[Sequence[TokenIds], int | None], Iterator[tuple[list[int], Vectors, list[Vectors]]]]

_TEXTS = 1024
"""Texts that are divided and computed together."""


class ChunkEncoder:
    """Encodes texts in chunks with one encoder.

    Args:
        encoder: computes the chunks.
        options: the length of chunks; None: the default.
        batch_size: as in :meth:`m3e_runtime.Encoder.encode`.
        run_states: computes texts with the states of their tokens, for late chunking.

    Raises:
        OptionError: the options are out of range, or the model cannot be used for late chunking.
    """

    def __init__(
        self,
        encoder: Encoder,
        options: ChunkOptions | None,
        batch_size: int | None,
        run_states: StateRun,
    ) -> None:
        options = options or ChunkOptions()
        self._encoder = encoder
        self._batch_size = batch_size
        self._chunker = Chunker(encoder.tokenizer, options)
        self._late: LateChunks | None = None
        if options.late:
            self._late = LateChunks(
                encoder.tokenizer, encoder.bundle.manifest, lambda ids: run_states(ids, batch_size)
            )

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
            some, their_prompts = texts[start : start + _TEXTS], prompts[start : start + _TEXTS]
            found = list(self._chunker.chunks_of_each(some, their_prompts, start))
            vectors.append(self._vectors(some, their_prompts, found))
            chunks += found
            if bar is not None:
                bar.update(len(some))
        return split_by_text(chunks, output.apply(np.concatenate(vectors)))

    def _vectors(self, texts: Sequence[str], prompts: Sequence[str], chunks: list[list[Chunk]]) -> Vectors:
        if self._late is not None:
            return self._late.vectors(texts, prompts, chunks)
        ids = [chunk.token_ids for chunk in chain.from_iterable(chunks)]
        each = [prompt for prompt, some in zip(prompts, chunks, strict=True) for _ in some]
        vectors = np.empty((len(ids), self._encoder.full_dimension), np.float32)
        for batch, found in self._encoder.run(ids, self._batch_size, self._encoder.prompt_lengths(each)):
            vectors[batch.indices] = found
        return vectors


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
