"""A served model: its bundle, and the encoding that all interfaces share."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.chunking import Chunk, ChunkOptions
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import MANIFEST_NAME, Manifest, TokenOutputs
from m3e_runtime.scheduling import AsyncEncoder, Lane, Priority
from m3e_runtime.token_outputs import SparseVector, all_outputs
from m3e_runtime.tokenization import TokenIds
from m3e_serve.errors import ApiError
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings
from m3e_serve.tasks import Task

__all__ = ["Embedded", "ServedModel", "SparseEmbedded"]


_MIN_PIECE = 1 << 15
"""Bytes in a piece of a response. Each piece costs a thread switch."""


@dataclass(frozen=True)
class Embedded:
    """Vectors, float32 ``[n, d]``, and what is known of their texts.

    Attributes:
        vectors: one for each text, or for each chunk of each text.
        tokens: number of tokens of the texts.
        truncated: number of texts that were truncated.
        chunks: the chunks of each text, if texts were divided.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    truncated: int = 0
    chunks: Sequence[Sequence[Chunk]] | None = None


@dataclass(frozen=True)
class SparseEmbedded:
    """Sparse vectors, the number of tokens of their texts, and how many texts were cut."""

    vectors: list[SparseVector]
    tokens: int
    truncated: int = 0


class ServedModel:
    """A bundle and its scheduler.

    Attributes:
        name: the model name in requests.
        encoder: the loaded bundle.
        scheduler: the asynchronous encoder, which batches requests.
        routes: all served routes of this model by name, itself included. Empty for models without a Router.
        task: what the model does.
        created: the bundle's time of creation, in seconds since 1970.
        vocabulary: largest token id + 1.
    """

    task: Task = "embed"

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        settings: ServeSettings,
        metrics: Metrics,
        label: str | None = None,
        lane: Lane | None = None,
    ) -> None:
        """``label`` is the model's label in metrics, by default ``name``. Models of one lane take turns."""
        if settings.pad_to is not None and settings.pad_to < encoder.dimension:
            raise OptionError(
                f"pad_to={settings.pad_to}: the vectors of {name} have {encoder.dimension} dimensions."
            )
        self.name = name
        self.encoder = encoder
        self.routes: Mapping[str, ServedModel] = {}
        self.created = int((encoder.bundle.path / MANIFEST_NAME).stat().st_mtime)
        self.vocabulary = encoder.tokenizer.vocabulary_size
        self._metrics = metrics.of_model(label or name, self.task)
        self._timeout = settings.request_timeout
        self.scheduler = AsyncEncoder(
            encoder,
            limits=settings.queue,
            on_run=lambda report: self._metrics.record_run(report, self.scheduler.waiting_tokens),
            lane=lane,
        )

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.encoder.bundle.manifest

    @property
    def precision(self) -> str:
        """The precision of the artifact in use."""
        return self.encoder.artifact.precision

    @property
    def token_budget(self) -> int:
        """Most tokens of a batch."""
        return self.encoder.token_budget

    @property
    def info(self) -> dict[str, Any]:
        """:attr:`m3e_runtime.Encoder.info`."""
        return self.encoder.info

    def close(self) -> None:
        """Free the engine's memory."""
        self.encoder.close()

    async def embed(
        self,
        texts: Sequence[str],
        priority: Priority,
        *,
        truncate: bool,
        normalize: bool,
        dimensions: int | None = None,
        prompt: str = "",
        keep_end: bool = False,
    ) -> Embedded:
        """Encode texts.

        Args:
            texts: the texts, without prompt.
            priority: as in :meth:`m3e_runtime.AsyncEncoder.encode`.
            truncate: truncate long texts instead of raising an error.
            normalize: scale the vectors to unit length.
            dimensions: keep only this many leading dimensions.
            prompt: prepended to each text.
            keep_end: truncate at the left, the prompt first.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncEncoder.encode`.
            TextTooLongError: a text is too long, and ``truncate`` is false.
            ApiError: the vectors have fewer than ``dimensions`` dimensions.
        """
        self.check_dimensions(dimensions)
        token_ids, seconds, cut = await self._tokenize(texts, priority, truncate, prompt, keep_end)
        return await self._embed(token_ids, priority, normalize, dimensions, seconds, prompt, cut)

    async def embed_sparse(
        self,
        texts: Sequence[str],
        priority: Priority,
        *,
        truncate: bool,
        prompt: str = "",
        keep_end: bool = False,
    ) -> SparseEmbedded:
        """Sparse vectors of texts, for models that give them. The arguments are those of :meth:`embed`.

        Raises:
            M3EError: as :meth:`embed`.
            TextTooLongError: as :meth:`embed`.
            ApiError: as :meth:`embed`.
        """
        wanted = self.encoder.wanted_outputs(["sparse"])
        token_ids, seconds, cut = await self._tokenize(texts, priority, truncate, prompt, keep_end)
        encoded = await self.scheduler.encode_token_ids(
            token_ids, priority, prompt, self._timeout, wanted=wanted
        )
        self._metrics.record_request(seconds, encoded)
        given = self.encoder.bundle.manifest.token_outputs or TokenOutputs()
        found = await self.scheduler.in_thread(
            lambda: all_outputs(token_ids, None, encoded.tokens, given, wanted)
        )
        return SparseEmbedded(found.sparse or [], sum(map(len, token_ids)), cut)

    async def _tokenize(
        self, texts: Sequence[str], priority: Priority, truncate: bool, prompt: str, keep_end: bool
    ) -> tuple[list[TokenIds], float, int]:
        """The token ids of texts with their prompt, the seconds that it took, and how many were cut."""
        if keep_end and prompt and not self.encoder.bundle.manifest.include_prompt:
            raise ApiError(
                422,
                "truncation_direction: left would truncate the prompt, which is excluded from pooling.",
            )
        start = time.perf_counter()
        token_ids, cut = await self.scheduler.tokenize_marked(
            [prompt + text for text in texts] if prompt else texts, priority, truncate, keep_end
        )
        return token_ids, time.perf_counter() - start, sum(cut)

    async def embed_chunks(
        self,
        texts: Sequence[str],
        priority: Priority,
        options: ChunkOptions,
        *,
        normalize: bool,
        most: int,
        dimensions: int | None = None,
        prompt: str = "",
    ) -> Embedded:
        """Encode all of each text, in chunks.

        Args:
            texts: as in :meth:`embed`, like the others.
            priority: see ``texts``.
            options: the length of chunks, and whether chunking is late.
            normalize: see ``texts``.
            most: largest number of chunks of all texts.
            dimensions: see ``texts``.
            prompt: prepended to each chunk.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncEncoder.tokenize_chunks`.
            ApiError: as :meth:`embed`.
        """
        self.check_dimensions(dimensions)
        start = time.perf_counter()
        found = await self.scheduler.tokenize_chunks(texts, options, priority, prompt, most)
        seconds = time.perf_counter() - start
        encoded = await self.scheduler.encode_tokenized_chunks(found, priority, prompt, self._timeout)
        self._metrics.record_request(seconds, encoded)
        vectors = await self.scheduler.finish(encoded, self.encoder.output_options(dimensions, normalize))
        return Embedded(vectors, sum(map(len, found.token_ids)), chunks=found.chunks)

    def check_dimensions(self, dimensions: int | None, longest: int | None = None) -> None:
        """Check that vectors have at least ``dimensions`` dimensions, or can be padded to ``longest``.

        Raises:
            ApiError: 400 or 422, they have fewer.
        """
        longest = longest or self.encoder.full_dimension
        if dimensions is not None and dimensions > longest:
            message = f"dimensions={dimensions}: the model has {longest} dimensions."
            raise ApiError(400, message, "invalid_value", "dimensions", tei_status=422)

    async def embed_ids(
        self, inputs: Sequence[Sequence[int]], priority: Priority, *, normalize: bool, dimensions: int | None
    ) -> Embedded:
        """Encode texts from token ids of this model's tokenizer, with special tokens.

        Raises:
            M3EError: as :meth:`embed`.
            ApiError: a text has no token ids, too many, or an unknown one.
        """
        self.check_dimensions(dimensions)
        max_length = self.encoder.max_seq_length
        for index, ids in enumerate(inputs):
            if not ids:
                raise ApiError(
                    400, f"input {index} has no token ids.", "invalid_value", "input", tei_status=422
                )
            if len(ids) > max_length:
                raise ApiError(400, f"input {index} has {len(ids)} token ids; the maximum is {max_length}.",
                               "context_length_exceeded", "input", tei_status=413)  # fmt: skip
            if min(ids) < 0 or max(ids) >= self.vocabulary:
                raise ApiError(400, f"input {index} has a token id outside 0 to {self.vocabulary - 1}.",
                               "invalid_value", "input", "Tokenizer", 422)  # fmt: skip
        token_ids = [np.array(ids, dtype=np.int32) for ids in inputs]
        return await self._embed(token_ids, priority, normalize, dimensions, 0.0)

    async def token_lists(
        self, texts: Sequence[str], priority: Priority, add_special_tokens: bool
    ) -> AsyncGenerator[bytes, None]:
        """The tokens of ``texts`` as JSON, see :func:`m3e_serve.models.token_lists.token_lists`.

        Yields:
            Pieces of the JSON, of some kilobytes each, made on demand.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncEncoder.tokenize`, before the first piece.
            ApiError: 413, a text cannot be split, before the first piece.
        """
        # Imported here because it imports the package `tokenizers`, which embeddings do not need.
        from m3e_serve.models.token_lists import check_parts, token_lists

        scheduler, tokenizer = self.scheduler, self.encoder.tokenizer
        with scheduler.tokenizing(texts, priority):
            await scheduler.in_thread(lambda: check_parts(tokenizer.splits, texts))
            pieces = token_lists(tokenizer.tokenizer, tokenizer.splits, texts, add_special_tokens)
            while piece := await scheduler.in_thread(lambda: _join_next(pieces)):
                yield piece

    async def _embed(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority,
        normalize: bool,
        dimensions: int | None,
        tokenize_seconds: float,
        prompt: str = "",
        truncated: int = 0,
    ) -> Embedded:
        options = self.encoder.output_options(dimensions, normalize)
        encoded = await self.scheduler.encode_token_ids(token_ids, priority, prompt, self._timeout)
        self._metrics.record_request(tokenize_seconds, encoded, truncated)
        vectors = await self.scheduler.finish(encoded, options)
        return Embedded(vectors, sum(map(len, token_ids)), truncated)


def _join_next(pieces: Iterator[bytes]) -> bytes:
    """Join the next pieces up to at least :data:`_MIN_PIECE` bytes. Empty at the end."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) >= _MIN_PIECE:
            break
    return bytes(joined)
