"""The encoder for asyncio, which computes the texts of many callers together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.containers import as_list
from m3e_runtime.encoder import Encoder
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.outputs import OutputOptions, OutputPrecision
from m3e_runtime.scheduling.async_model import AsyncModel
from m3e_runtime.scheduling.request import Encoded, Priority
from m3e_runtime.token_outputs import OUTPUTS, Output, Outputs, TextOutputs, all_outputs
from m3e_runtime.tokenization import TextTokenizer, TokenIds

if TYPE_CHECKING:
    from m3e_runtime.chunking import ChunkOptions, TokenizedChunks

__all__ = ["AsyncEncoder"]

_INLINE_VALUES = 1 << 16  # vectors of up to this many values are normalized in the event loop, too


class AsyncEncoder(AsyncModel[Encoder]):
    """Encodes for many asyncio tasks with one engine.

    The texts of all callers are batched. An idle engine starts at once with the waiting texts, or with a
    part of them if there are many (see :mod:`m3e_runtime.scheduling.pace`). Texts that arrive meanwhile wait.
    Short texts and small requests are computed first, and nothing starves (see
    :mod:`m3e_runtime.scheduling.queue`). Cancelling a call removes its texts from the queue. The vectors are
    those of :meth:`Encoder.encode`, bit for bit if ``Encoder.info["batch_invariant"]``.

    It belongs to the event loop in which it is first used. The encoder can be used beside it. Closing it does
    not close the encoder.

    Args:
        model: the encoder to use.
        limits: limits of the queue. Calls beyond them are rejected.
        run_seconds: approximate maximum duration of one run of the engine.
        on_run: called in the event loop after each run of the engine.
        lane: shared with the other models of this process, whose engines take turns; None: it has no others.

    Example:
        >>> async def main():
        ...     async with AsyncEncoder(Encoder.load("m3e-base-int8")) as encoder:
        ...         return await asyncio.gather(*(encoder.encode(text) for text in ("你好", "世界")))
    """

    @property
    def encoder(self) -> Encoder:
        """The encoder that it uses."""
        return self._model

    async def warm_up(self) -> None:
        """Encode until the speed of the engine is measured. The first runs take longer than others."""
        await self.encode_token_ids([self.encoder.tokenizer.encode("")])
        longest = self.encoder.tokenizer.encode("a " * self.encoder.max_seq_length)
        await self._measure(len(longest), lambda count: self.encode_token_ids([longest] * count))

    async def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        precision: OutputPrecision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        priority: Priority = "query",
    ) -> npt.NDArray[Any]:
        """Encode one text or a list of texts, as :meth:`Encoder.encode` does.

        Args:
            sentences: a text, or a sequence of texts.
            prompt_name: as in :meth:`Encoder.encode`, like the next five.
            prompt: see ``prompt_name``.
            precision: see ``prompt_name``.
            normalize_embeddings: see ``prompt_name``.
            truncate_dim: see ``prompt_name``.
            ranges: see ``prompt_name``.
            priority: ``"query"``, or ``"document"`` for texts that queries may overtake.

        Returns:
            ``[dimension]`` for a string, ``[n, dimension]`` for a sequence, in the order given.

        Raises:
            OverloadedError: too much is waiting. ``retry_after`` says after how many seconds to try again.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            OptionError: an unknown precision, prompt or priority, or a size out of range.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        prefix = self.encoder.prefix(prompt_name, prompt)
        options = self.encoder.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        with self._call():
            token_ids = await self.tokenize([prefix + text for text in texts] if prefix else texts, priority)
            encoded = await self.encode_token_ids(token_ids, priority, prefix)
            vectors = await self.finish(encoded, options)
        if isinstance(sentences, str):
            only: npt.NDArray[Any] = vectors[0]
            return only
        return vectors

    async def encode_outputs(
        self,
        sentences: str | Sequence[str],
        outputs: Sequence[Output] = OUTPUTS,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        priority: Priority = "query",
        task: Task | None = None,
    ) -> Outputs | TextOutputs:
        """Dense vectors, sparse vectors and multi-vectors of texts, as :meth:`Encoder.encode_outputs`.

        Args:
            sentences: a text, or a sequence of texts.
            outputs: as in :meth:`Encoder.encode_outputs`, like the next four.
            prompt_name: see ``outputs``.
            prompt: see ``outputs``.
            normalize_embeddings: see ``outputs``.
            truncate_dim: see ``outputs``.
            priority: as in :meth:`encode`.
            task: as in :meth:`Encoder.encode_outputs`. It does not set the priority.

        Raises:
            M3EError: as :meth:`encode`.
            OptionError: the model or the artifact does not give an output.
        """
        wanted = self.encoder.wanted_outputs(outputs)
        prefix = self.encoder.prefix(self.encoder.prompt_name_of(task, prompt_name, prompt), prompt)
        options = (
            self.encoder.output_options(truncate_dim, normalize_embeddings) if "dense" in wanted else None
        )
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        with self._call():
            token_ids = await self.tokenize(
                [prefix + text for text in texts] if prefix else texts, priority, task=task
            )
            encoded = await self.encode_token_ids(token_ids, priority, prefix, wanted=wanted - {"dense"})
            dense = None if options is None else await self.finish(encoded, options)
            given = self.encoder.bundle.manifest.token_outputs or TokenOutputs()
            found = await self.in_thread(
                lambda: all_outputs(token_ids, dense, encoded.tokens, given, wanted, task)
            )
        return found[0] if isinstance(sentences, str) else found

    async def tokenize(
        self,
        texts: Sequence[str],
        priority: Priority = "query",
        truncate: bool = True,
        keep_end: bool = False,
        task: Task | None = None,
    ) -> list[TokenIds]:
        """Token ids of each text. Many characters are tokenized in another thread.

        Args:
            texts: the texts, with prompts.
            priority: as in :meth:`encode`.
            truncate: truncate long texts instead of raising an error.
            keep_end: keep the last tokens of truncated texts instead of the first.
            task: as in :meth:`Encoder.encode_outputs`.

        Raises:
            OverloadedError: as :meth:`encode`, before any work is done.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            TextTooLongError: a text is too long, and ``truncate`` is false.
        """
        return (await self.tokenize_marked(texts, priority, truncate, keep_end, task))[0]

    async def tokenize_marked(
        self,
        texts: Sequence[str],
        priority: Priority = "query",
        truncate: bool = True,
        keep_end: bool = False,
        task: Task | None = None,
    ) -> tuple[list[TokenIds], list[bool]]:
        """As :meth:`tokenize`, and for each text whether it was truncated.

        Args:
            texts: the texts, with prompts.
            priority: as in :meth:`encode`.
            truncate: truncate long texts instead of raising an error.
            keep_end: keep the last tokens of truncated texts instead of the first.
            task: as in :meth:`Encoder.encode_outputs`.

        Raises:
            OverloadedError: as :meth:`encode`, before any work is done.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            TextTooLongError: a text is too long, and ``truncate`` is false.
        """
        texts = as_list(texts)
        tokenizer = self.encoder.tokenizer_of(task)
        tokenize = partial(_tokenized, tokenizer, texts, truncate, keep_end)
        characters = sum(map(len, texts))
        token_ids, cut = await self._tokenized(
            len(texts), characters, priority, tokenize, slow=keep_end and truncate
        )
        self.encoder.cut_texts.add(cut, tokenizer.max_length)
        return self.encoder.expanded(token_ids, task), cut

    async def tokenize_chunks(
        self, texts: Sequence[str], options: ChunkOptions, priority: Priority, prompt: str, most: int
    ) -> TokenizedChunks:
        """Divide texts into chunks, in another thread.

        Args:
            texts: the texts, without prompt.
            options: the length of chunks, and whether chunking is late.
            priority: as in :meth:`encode`.
            prompt: the prompt before each chunk.
            most: largest number of chunks. The work ends when there are more.

        Raises:
            OverloadedError: as :meth:`encode`, before any work is done.
            BatchTooLargeError: the texts have more chunks.
            InvalidTextError: as :meth:`tokenize`, or a character has more tokens than a chunk.
            OptionError: an option is out of range, a prompt leaves no room for text, or the model cannot be
                used for late chunking.
        """
        from m3e_runtime.chunking import ChunkTokenizer

        texts = as_list(texts)

        def tokenize() -> TokenizedChunks:
            return ChunkTokenizer(self.encoder, options).tokenize(texts, prompt, most=most)

        return await self._tokenized(len(texts), sum(map(len, texts)), priority, tokenize, slow=True)

    async def encode_tokenized_chunks(
        self,
        tokenized: TokenizedChunks,
        priority: Priority = "query",
        prompt: str = "",
        seconds: float = math.inf,
    ) -> Encoded:
        """Vectors of all chunks in their order, bit for bit those of :meth:`Encoder.encode_chunks`.

        Args:
            tokenized: what :meth:`tokenize_chunks` returns.
            priority: as in :meth:`encode_token_ids`.
            prompt: as in :meth:`encode_token_ids`.
            seconds: as in :meth:`encode_token_ids`.

        Raises:
            M3EError: as :meth:`encode_token_ids`.
        """
        if tokenized.windows is None:
            return await self.encode_token_ids(tokenized.token_ids, priority, prompt, seconds)
        from m3e_runtime.chunking import Parts

        parts = Parts([window.tokens for window in tokenized.windows], self.encoder.late_pooling)
        return await self._compute(tokenized.token_ids, priority, seconds, parts=parts)

    async def encode_token_ids(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority = "query",
        prompt: str = "",
        seconds: float = math.inf,
        wanted: frozenset[Output] = frozenset(),
    ) -> Encoded:
        """Vectors of texts from their token ids, as :meth:`tokenize` returns them.

        Args:
            token_ids: the token ids of each text.
            priority: as in :meth:`encode`.
            prompt: the prompt at the start of each text.
            seconds: the caller's timeout. A request that would take longer is rejected before it starts.
            wanted: outputs of tokens to compute, too, as :meth:`Encoder.run_outputs` takes them.

        Raises:
            BatchTooLargeError: it takes longer than ``seconds``, even if nothing else is waiting.
            OverloadedError: too much is waiting, or too much to finish in ``seconds``.
            OptionError: an unknown priority.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        (prompt_length,) = self.encoder.prompt_lengths([prompt]) or [0]
        return await self._compute(token_ids, priority, seconds, prompt_length, wanted=wanted)

    async def finish(self, encoded: Encoded, options: OutputOptions) -> npt.NDArray[Any]:
        """Truncate, normalize and quantize as :meth:`Encoder.encode` does, in another thread if large."""
        vectors = encoded.vectors
        if vectors.size > _INLINE_VALUES:
            return await self.in_thread(lambda: options.apply(vectors))
        return options.apply(vectors)


def _tokenized(
    tokenizer: TextTokenizer, texts: list[str], truncate: bool, keep_end: bool
) -> tuple[list[TokenIds], list[bool]]:
    """Token ids of each text, and whether it was truncated."""
    if not truncate:
        return tokenizer.encode_batch(texts, truncate=False), [False] * len(texts)
    if not keep_end and len(texts) > 1:
        return tokenizer.encode_batch_marked(texts)
    token_ids = tokenizer.encode_tails(texts) if keep_end else [tokenizer.encode(text) for text in texts]
    return token_ids, [tokenizer.is_cut(text, ids) for text, ids in zip(texts, token_ids, strict=True)]
