"""Encoding all of each text, in chunks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_batch_size
from m3e_runtime.containers import as_list
from m3e_runtime.encoding.base import EncoderBase
from m3e_runtime.outputs import OutputPrecision
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import prompt_for_each, single_prompt
from m3e_runtime.tokenization import TokenIds

if TYPE_CHECKING:
    from m3e_runtime.chunking import ChunkedText, ChunkOptions, LatePooling

__all__ = ["ChunkEncoding"]


class ChunkEncoding(EncoderBase):
    """Texts in chunks, for :class:`m3e_runtime.Encoder`."""

    def encode_chunks(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: OutputPrecision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        *,
        chunking: ChunkOptions | None = None,
    ) -> ChunkedText | list[ChunkedText]:
        """Encode all of each text, in chunks that the model takes.

        Chunks end at the ends of sentences and lines where that is possible; see
        :class:`m3e_runtime.chunking.Chunker`. Each chunk gets the prompt. A text that fits is one chunk, and
        its vector is that of :meth:`encode`.

        Args:
            sentences: as in :meth:`encode`, like the next eight.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.
            batch_size: see ``sentences``.
            show_progress_bar: see ``sentences``.
            precision: see ``sentences``.
            normalize_embeddings: see ``sentences``.
            truncate_dim: see ``sentences``.
            ranges: see ``sentences``; by default from all chunks.
            chunking: the length of chunks, their overlap, and whether chunking is late. By default chunks
                are as long as the model takes, and do not overlap.

        Returns:
            The vectors of a text's chunks and where these are in the text; for a sequence a list of them, in
            the order given.

        Raises:
            InvalidTextError: as :meth:`encode`.
            TextTooLongError: a single character has more tokens than a chunk.
            OptionError: as :meth:`encode`; ``chunking`` is out of range; or it is late, and the model does
                not pool by mean, has layers behind the pooling, or gives no states of tokens.

        Example:
            >>> chunked = encoder.encode_chunks(text, chunking=ChunkOptions(tokens=256, overlap=32))
            >>> [text[start:end] for start, end in zip(chunked.start, chunked.end)]
        """
        from m3e_runtime.chunking.encoding import ChunkEncoder

        prompts = self._prompts(prompt_name, prompt)
        options = self.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        check_batch_size(batch_size)
        chunks = ChunkEncoder(self, chunking, batch_size)
        if isinstance(sentences, str):
            return chunks.encode([sentences], [single_prompt(prompts)], options, None)[0]
        texts = as_list(sentences)
        each = [prompts] * len(texts) if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        with (
            self._named_by_place(texts, each),
            progress_bar(len(texts), "text", "Encoding", show_progress_bar) as bar,
        ):
            return chunks.encode(texts, each, options, bar)

    @cached_property
    def late_pooling(self) -> LatePooling:
        """What makes the vectors of late chunking.

        Raises:
            OptionError: the model does not pool by mean, has layers behind the pooling, or gives no states of
                tokens.
        """
        from m3e_runtime.chunking import LatePooling

        def run(token_ids: TokenIds) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            _, (vector,), (states,) = next(self.run_states([token_ids]))
            return vector, states

        return LatePooling(self.tokenizer, self._manifest, run)
