"""The encoder: texts in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from m3e_runtime import outputs
from m3e_runtime.arguments import check_batch_size, check_flag, check_text, whole_number
from m3e_runtime.backends import OutputsBackend
from m3e_runtime.containers import as_iterator, as_list
from m3e_runtime.errors import InvalidTextError, OptionError
from m3e_runtime.late_interaction import (
    Task,
    check_task_name,
    expanded,
    prompt_name_of_task,
    settings_of_task,
)
from m3e_runtime.loaded_model import LoadedModel
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.outputs import OUTPUT_PRECISIONS, OutputOptions, OutputPrecision
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import named_prompt, prompt_for_each, single_prompt, with_prompts
from m3e_runtime.routes import check_task
from m3e_runtime.token_embeddings import EncodedText
from m3e_runtime.token_outputs import (
    Output,
    Outputs,
    SparseVector,
    TextOutputs,
    finish_tokens,
    given_outputs,
    wanted_outputs,
)
from m3e_runtime.tokenization import TextTokenizer, TokenIds
from m3e_runtime.truncation import CutTexts, Truncation, check_truncation

if TYPE_CHECKING:
    from m3e_runtime.chunking import ChunkedText, ChunkOptions, LatePooling

__all__ = ["Encoder", "as_list"]

WINDOW = 8192
"""Texts in a window. It is large enough to fill batches with texts of equal length."""


class Encoder(LoadedModel):
    """A loaded bundle. Several threads can share an encoder; their calls do not affect each other's results.

    A pickle holds the bundle's path and the options of :meth:`load`; unpickling loads the bundle again.
    Copies share the engine. A child of ``fork()`` can use its parent's encoder, except on a GPU.

    Example:
        >>> from m3e_runtime import Encoder
        >>> encoder = Encoder.load("m3e-base-int8")
        >>> encoder.encode(["你好,世界", "Hello, world"]).shape
        (2, 768)
    """

    _classifies = False

    def __init__(self, *loaded: Any) -> None:
        super().__init__(*loaded)
        self.cut_texts = CutTexts()

    @staticmethod
    def load(
        path: str | bytes | os.PathLike[str],
        *,
        device: Any = "auto",
        artifact: str | None = None,
        backend: str | None = None,
        threads: int | None = None,
        verify: bool = True,
    ) -> Encoder:
        """Load a bundle.

        Args:
            path: the bundle's folder, as written by ``m3e-export``.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` (any engine on that GPU), ``"tensorrt"``, or
                ``"auto"``: a GPU if the bundle has an artifact for one and it can run here, else the CPU.
                ``info["why"]`` has the reason. A GPU that is named here is never replaced by the CPU.
                None means ``"auto"``, a number means that GPU. A ``torch.device`` is accepted.
            artifact: name of the artifact to run, by default the fastest one for the device.
            backend: ``"native"``, ``"onnxruntime"``, ``"tensorrt"``, ``"onnxruntime-tensorrt"`` or
                ``"onnxruntime-tensorrt-rtx"`` to force an engine.
            threads: threads of a CPU engine; by default the cores that affinity and quota allow.
            verify: compare the files with their SHA-256 in the manifest before they are used.

        Raises:
            BundleError: not a bundle, or one from a newer exporter.
            BundleIntegrityError: a file differs from the manifest.
            EngineMissingError: no engine is installed for it, or there is no such GPU.
            EngineBuildError: TensorRT cannot build an engine for this GPU.
            EngineRunError: the GPU has not enough memory.
            OptionError: unknown device, backend or artifact, threads below one, or an argument of the wrong
                type.
        """
        return Encoder._open(path, device, artifact, backend, threads, verify)

    @property
    def _outputs(self) -> str:
        if not self._manifest.gives_dense:
            return f"{' and '.join(self.given_outputs())} outputs"
        return f"{self.dimension} dimensions"

    @property
    def dimension(self) -> int:
        """Default length of a vector: the checkpoint's ``truncate_dim``, or :attr:`full_dimension`."""
        return self._manifest.output_dimension

    @property
    def full_dimension(self) -> int:
        """Length of the engine's vectors, and the largest ``truncate_dim``."""
        return self._manifest.dimension

    @property
    def info(self) -> dict[str, Any]:
        """The artifact, precision, engine, threads and measured fidelity in use.

        ``truncated`` is the number of texts that were cut so far, because they have more tokens than
        ``max_seq_length``.
        """
        return {
            **super().info,
            "dimension": self.dimension,
            "max_seq_length": self.max_seq_length,
            "truncated": self.cut_texts.count,
            "pooling": self._manifest.pooling,
            "include_prompt": self._manifest.include_prompt,
            "outputs": self.given_outputs(),
            "route": self._manifest.route and self._manifest.route.name,
            "fidelity": {
                name: getattr(self.artifact.vector_fidelity, name)
                for name in ("oracle", "texts", "mean_cosine", "p1_cosine", "min_cosine", "overlap_at_10")
            },
        }

    @overload
    def encode(
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
        truncation: Literal["cut", "error"] = "cut",
        chunking: ChunkOptions | None = None,
    ) -> npt.NDArray[Any]: ...

    @overload
    def encode(
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
        truncation: Literal["chunk"],
        chunking: ChunkOptions | None = None,
    ) -> ChunkedText | list[ChunkedText]: ...

    def encode(
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
        truncation: Truncation = "cut",
        chunking: ChunkOptions | None = None,
    ) -> npt.NDArray[Any] | ChunkedText | list[ChunkedText]:
        """Encode one text or a list of texts.

        Parameter names and meanings are those of ``SentenceTransformer.encode``.

        Args:
            sentences: a text, or texts in a list, a column of a data frame, an array or a generator.
            prompt_name: name of a prompt of the checkpoint, put before each text.
            prompt: a prompt, or one for each text; it takes precedence over ``prompt_name``. Nothing is added
                between prompt and text: uniem, for example, ends instructions with a line feed. The
                checkpoint decides whether a prompt's tokens are pooled, see ``info["include_prompt"]``.
            batch_size: most texts in one run of the engine; by default only the token budget limits it.
            show_progress_bar: by default on a terminal, for calls that take longer than a moment.
            precision: ``float32``, ``float16``, ``int8``, ``uint8``, ``binary`` or ``ubinary``;
                see :func:`m3e_runtime.outputs.quantize_embeddings`.
            normalize_embeddings: scale each vector to unit length.
            truncate_dim: keep only this many leading dimensions, by default :attr:`dimension`.
            ranges: ``[2, dimension]`` for int8 and uint8, by default from these texts; a single text has no
                range.
            truncation: what happens to texts with more than :attr:`max_seq_length` tokens. ``"cut"`` keeps
                the first tokens: a warning is logged once, and ``info["truncated"]`` counts such texts.
                ``"error"`` raises an error before any text is computed. ``"chunk"`` encodes all of a text,
                see :meth:`encode_chunks`.
            chunking: for ``"chunk"``, as in :meth:`encode_chunks`.

        Returns:
            ``[dimension]`` for a string, ``[n, dimension]`` for a sequence, in the order given. With
            ``truncation="chunk"``, what :meth:`encode_chunks` returns.

        Raises:
            InvalidTextError: not a string, a lone surrogate, or a container without a defined order.
            TextTooLongError: a text is too long, and ``truncation`` is ``"error"``. It names the first.
            OptionError: an unknown precision or prompt, more or fewer prompts than texts, a size out of
                range, or an argument of the wrong type.
        """
        check_truncation(truncation)
        if truncation == "chunk":
            return self.encode_chunks(
                sentences,
                prompt_name,
                prompt,
                batch_size,
                show_progress_bar,
                precision,
                normalize_embeddings,
                truncate_dim,
                ranges,
                chunking=chunking,
            )
        if chunking is not None:
            raise OptionError(f'chunking is for truncation="chunk", not for {truncation!r}.')
        prompts = self._prompts(prompt_name, prompt)
        options = self.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        check_batch_size(batch_size)
        if isinstance(sentences, str):
            only: npt.NDArray[Any] = options.apply(self._encode_one(sentences, prompts, truncation))[0]
            return only
        texts = as_list(sentences)
        each = prompts if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        if truncation == "error":
            self._check_lengths(texts, each)
        vectors = np.empty((len(texts), self.full_dimension), dtype=np.float32)
        bar_of = progress_bar(len(texts), "text", "Encoding", show_progress_bar)
        with self._named_by_place(texts, each), bar_of as bar:
            for part, some in _windows(len(texts), each):
                self._encode_into(vectors[part], texts[part], some, batch_size, bar)
        return options.apply(vectors)

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

    def find_truncated(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which texts :meth:`encode` cuts: those with more than :attr:`max_seq_length` tokens.

        Args:
            sentences: as in :meth:`encode`, like the other arguments.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.

        Returns:
            bool ``[n]``; for a string ``[1]``.

        Raises:
            InvalidTextError: as :meth:`encode`.
            OptionError: as :meth:`encode`.
        """
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        prompts = self._prompts(prompt_name, prompt)
        each = prompts if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        with self._named_by_place(texts, each):
            _, cut = self.tokenizer.encode_marked_in_pieces(with_prompts(each, texts))
        return np.array(cut, dtype=np.bool_)

    def encode_tokens(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:
        """The vector of each token of one text or of a list of texts, as they are before pooling.

        The texts are tokenized, truncated and batched as in :meth:`encode`. Their tokens include special ones
        and those of the prompt. With the native engine a text gives the same bytes in every batch.

        Args:
            sentences: as in :meth:`encode`, like the other arguments.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.
            batch_size: see ``sentences``.
            show_progress_bar: see ``sentences``.

        Returns:
            float32 ``[tokens, hidden]`` for a string, a list of them for a sequence, in the order given.

        Raises:
            InvalidTextError: as :meth:`encode`.
            OptionError: as :meth:`encode`, or the artifact gives vectors of texts only.
        """
        found = self.encode_with_tokens(sentences, prompt_name, prompt, batch_size, show_progress_bar)
        if isinstance(found, EncodedText):
            return found.token_embeddings
        return [each.token_embeddings for each in found]

    def encode_with_tokens(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> EncodedText | list[EncodedText]:
        """What :meth:`encode` and :meth:`encode_tokens` give, and the token ids, from one run.

        Args:
            sentences: as in :meth:`encode`, like the other arguments.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.
            batch_size: see ``sentences``.
            show_progress_bar: see ``sentences``.

        Returns:
            One for a string, a list of them for a sequence, in the order given.

        Raises:
            InvalidTextError: as :meth:`encode`.
            OptionError: as :meth:`encode_tokens`.
        """
        self._token_backend()  # raises an error where there is none
        prompts = self._prompts(prompt_name, prompt)
        check_batch_size(batch_size)
        if isinstance(sentences, str):
            return self._with_tokens([sentences], single_prompt(prompts), batch_size, None)[0]
        texts = as_list(sentences)
        each = prompts if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        encoded: list[EncodedText] = []
        bar_of = progress_bar(len(texts), "text", "Encoding", show_progress_bar)
        with self._named_by_place(texts, each), bar_of as bar:
            for part, some in _windows(len(texts), each):
                encoded += self._with_tokens(texts[part], some, batch_size, bar)
        return encoded

    def encode_outputs(
        self,
        sentences: str | Iterable[str],
        outputs: Sequence[Output] = ("dense", "sparse", "multi_vector"),
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        truncation: Literal["cut", "error"] = "cut",
        task: Task | None = None,
    ) -> Outputs | TextOutputs:
        """Dense vectors, sparse vectors and multi-vectors of texts from one pass, for models such as bge-m3.

        Models such as ColBERT encode queries and documents differently: set ``task``.

        Args:
            sentences: as in :meth:`encode`.
            outputs: which to give. Sparse vectors leave out special tokens, multi-vectors the first token.
            prompt_name: as in :meth:`encode`, like the other arguments.
            prompt: see ``prompt_name``.
            batch_size: see ``prompt_name``.
            show_progress_bar: see ``prompt_name``.
            normalize_embeddings: of the dense vectors, as in :meth:`encode`.
            truncate_dim: of the dense vectors, as in :meth:`encode`.
            truncation: as in :meth:`encode`, without ``"chunk"``.
            task: ``"query"`` and ``"document"`` do what ``encode_query`` and ``encode_document`` of
                sentence-transformers do: they take the prompt of that name, if no other is asked for, and the
                lengths, the expansion of queries and the tokens without vectors that the model has.

        Returns:
            One text's outputs for a string, those of all texts for a sequence, in the order given.

        Raises:
            InvalidTextError: as :meth:`encode`.
            OptionError: as :meth:`encode`, or the model or the artifact does not give an output.
            TextTooLongError: as :meth:`encode`.
        """
        if truncation not in ("cut", "error"):
            raise OptionError(f'truncation={truncation!r}: use "cut" or "error" here.')
        wanted = self.wanted_outputs(outputs)
        prompts = self._prompts(self.prompt_name_of(task, prompt_name, prompt), prompt)
        options = self.output_options(truncate_dim, normalize_embeddings) if "dense" in wanted else None
        check_batch_size(batch_size)
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        each = prompts if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        bar_of = progress_bar(len(texts), "text", "Encoding", show_progress_bar)
        if truncation == "error":
            self._check_lengths(texts, each if isinstance(each, str) else list(each), task)
        dense = np.empty((len(texts), self.full_dimension), dtype=np.float32)
        sparse: list[SparseVector | None] = []
        vectors: list[npt.NDArray[np.float32] | None] = []
        with self._named_by_place(texts, each), bar_of as bar:
            for part, some in _windows(len(texts), each):
                found = self._outputs_into(dense[part], texts[part], some, wanted, batch_size, bar, task)
                sparse += [first for first, _ in found]
                vectors += [second for _, second in found]
        all_outputs = Outputs(
            None if options is None else options.apply(dense),
            [one for one in sparse if one is not None] if "sparse" in wanted else None,
            [one for one in vectors if one is not None] if "multi_vector" in wanted else None,
        )
        return all_outputs[0] if isinstance(sentences, str) else all_outputs

    def wanted_outputs(self, outputs: Sequence[Output]) -> frozenset[Output]:
        """Check which outputs are asked for.

        Raises:
            OptionError: a name is unknown, or the model or the artifact does not give an output.
        """
        wanted = wanted_outputs(outputs, self._manifest.token_outputs)
        if wanted != {"dense"}:
            self._outputs_backend()
        return wanted

    def encode_iter(
        self,
        sentences: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        precision: OutputPrecision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        window: int = WINDOW,
    ) -> Iterator[npt.NDArray[Any]]:
        """Encode a stream of any length in bounded memory: one vector per text, in order.

        Args:
            sentences: any iterable of texts; it is read up to ``window`` texts ahead.
            window: texts tokenized and sorted together.
            prompt_name: as in :meth:`encode`, like the other arguments.
            prompt: as in :meth:`encode`; those for each text may be any iterable.
            batch_size: as in :meth:`encode`.
            precision: as in :meth:`encode`; int8 and uint8 need ``ranges`` here.
            normalize_embeddings: as in :meth:`encode`.
            truncate_dim: as in :meth:`encode`.
            ranges: as in :meth:`encode`.

        Yields:
            ``[dimension]`` vectors.

        Raises:
            InvalidTextError: not a string, or a lone surrogate.
            OptionError: as :meth:`encode`, and int8 or uint8 without ``ranges``.
        """
        texts = as_iterator(sentences)
        prompts = self._prompts(prompt_name, prompt)
        options = self.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        check_batch_size(batch_size)
        window = whole_number("window", window, 1, why=": so many texts are read ahead")
        if precision in ("int8", "uint8") and ranges is None:
            raise OptionError(f"precision={precision!r} in a stream needs ranges, float32 [2, dimension].")
        return self._stream(
            texts,
            window,
            prompts if isinstance(prompts, str) else as_iterator(prompts),
            batch_size,
            options,
        )

    def prompt_lengths(self, prompts: Sequence[str]) -> list[int] | None:
        """Number of prompt tokens in each text; None if the pooling includes prompts."""
        if self._manifest.include_prompt:
            return None
        lengths = {prompt: self.tokenizer.prompt_length(prompt) for prompt in set(prompts)}
        return [lengths[prompt] for prompt in prompts]

    def similarity(self, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Similarity of float vectors by the checkpoint's function, cosine by default.

        Args:
            a: ``[d]`` or ``[n, d]``.
            b: ``[d]`` or ``[m, d]``.

        Returns:
            float32 ``[n, m]``.

        Raises:
            OptionError: vectors of different dimensions, or not vectors.
        """
        return outputs.similarity(*outputs.comparable(a, b), self._manifest.similarity)

    def _stream(
        self,
        texts: Iterator[str],
        window: int,
        prompts: str | Iterator[str],
        batch_size: int | None,
        options: OutputOptions,
    ) -> Iterator[npt.NDArray[Any]]:
        while chunk := list(islice(texts, window)):
            some = (
                prompts if isinstance(prompts, str) else prompt_for_each(islice(prompts, len(chunk)), chunk)
            )
            vectors = np.empty((len(chunk), self.full_dimension), dtype=np.float32)
            self._encode_into(vectors, chunk, some, batch_size, None)
            yield from options.apply(vectors)

    def _encode_one(
        self, text: str, prompt: str | Iterable[str], truncation: Truncation
    ) -> npt.NDArray[np.float32]:
        prompt = single_prompt(prompt)
        token_ids = [self.tokenizer.encode(prompt + text)]
        if self.tokenizer.is_cut(prompt + text, token_ids[0]):
            if truncation == "error":
                raise self.tokenizer.too_long(0, prompt + text)
            self.cut_texts.add([True], self.max_seq_length)
        if self._manifest.include_prompt:
            return self._backend.run(token_ids)
        return self._backend.run(token_ids, [self.tokenizer.prompt_length(prompt)])

    def _outputs_into(
        self,
        dense: npt.NDArray[np.float32],
        texts: list[str],
        prompts: str | list[str],
        wanted: Container[Output],
        batch_size: int | None,
        bar: Any,
        task: Task | None,
    ) -> list[tuple[SparseVector | None, npt.NDArray[np.float32] | None]]:
        """Write the dense vectors of a window; return the other outputs of each text."""
        given = self._manifest.token_outputs or TokenOutputs()
        token_ids = self._tokenize(texts, prompts, task)
        found: dict[int, tuple[SparseVector | None, npt.NDArray[np.float32] | None]] = {}
        left_out = self._left_out(prompts, len(texts))
        for batch, vectors, tokens in self.run_outputs(token_ids, wanted, batch_size, left_out):
            dense[batch.indices] = vectors
            for place, each in zip(batch.indices.tolist(), tokens, strict=True):
                found[place] = finish_tokens(token_ids[place], each, given, task)
            if bar is not None:
                bar.update(len(batch.indices))
        return [found[at] for at in range(len(texts))]

    def _with_tokens(
        self,
        texts: list[str],
        prompts: str | list[str],
        batch_size: int | None,
        bar: Any,
    ) -> list[EncodedText]:
        token_ids = self._tokenize(texts, prompts)
        left_out = self._left_out(prompts, len(texts))
        encoded: dict[int, EncodedText] = {}
        for batch, vectors, states in self.run_states(token_ids, batch_size, left_out):
            places = batch.indices.tolist()
            ids = [token_ids[at] for at in places]
            encoded.update(zip(places, map(EncodedText, ids, states, map(np.copy, vectors)), strict=True))
            if bar is not None:
                bar.update(len(places))
        return [encoded[at] for at in range(len(texts))]

    @contextmanager
    def _named_by_place(self, texts: list[str], prompts: str | list[str]) -> Iterator[None]:
        """An invalid text of a window is named by its place among all."""
        try:
            yield
        except InvalidTextError:
            self.tokenizer.encode_batch(with_prompts(prompts, texts))
            raise

    def _encode_into(
        self,
        vectors: npt.NDArray[np.float32],
        texts: list[str],
        prompts: str | list[str],
        batch_size: int | None,
        bar: Any,
    ) -> None:
        token_ids = self._tokenize(texts, prompts)
        left_out = self._left_out(prompts, len(texts))
        for batch, found in self.run(token_ids, batch_size, left_out):
            vectors[batch.indices] = found
            if bar is not None:
                bar.update(len(batch.indices))

    def _tokenize(
        self, texts: list[str], prompts: str | list[str], task: Task | None = None
    ) -> list[TokenIds]:
        tokenizer = self.tokenizer_of(task)
        token_ids, cut = tokenizer.encode_marked_in_pieces(with_prompts(prompts, texts))
        self.cut_texts.add(cut, tokenizer.max_length)
        return self.expanded(token_ids, task)

    def tokenizer_of(self, task: Task | None) -> TextTokenizer:
        """:attr:`tokenizer` with the length of queries or documents, if the model has one for them."""
        settings = settings_of_task(self._manifest.multi_vector, task)
        return self.tokenizer if settings is None else self.tokenizer.limited(settings.max_length)

    def expanded(self, token_ids: list[TokenIds], task: Task | None) -> list[TokenIds]:
        """The token ids of queries with their expansion, if the model has one; those of others as given."""
        settings = settings_of_task(self._manifest.multi_vector, task)
        return token_ids if settings is None else expanded(token_ids, settings.expansion)

    def _check_lengths(self, texts: list[str], prompts: str | list[str], task: Task | None = None) -> None:
        """Raise an error for the first text that is too long."""
        whole, tokenizer = with_prompts(prompts, texts), self.tokenizer_of(task)
        for part, _ in _windows(len(texts), ""):
            with self._named_by_place(texts, prompts):
                _, cut = tokenizer.encode_marked_in_pieces(whole[part])
            if any(cut):
                index = part.start + cut.index(True)
                raise tokenizer.too_long(index, whole[index])

    def _left_out(self, prompts: str | list[str], count: int) -> list[int] | None:
        return self.prompt_lengths([prompts] * count if isinstance(prompts, str) else prompts)

    def given_outputs(self) -> list[Output]:
        """The names of the outputs that the model and the artifact give."""
        backend, given = self._backend, given_outputs(self._manifest.token_outputs)
        if isinstance(backend, OutputsBackend) and backend.gives_outputs:
            return given
        return [name for name in given if name == "dense"]

    def _check_dense(self) -> None:
        if self._manifest.gives_dense:
            return
        names = ", ".join(f'"{name}"' for name in self.given_outputs())
        raise OptionError(
            f"the model gives no vector of a text; use encode_outputs(texts, outputs=[{names}])."
        )

    def _prompts(self, prompt_name: str | None, prompt: str | Iterable[str] | None) -> str | Iterable[str]:
        if prompt is None or isinstance(prompt, str):
            return self.prefix(prompt_name, prompt)
        check_task(self._manifest.route, prompt_name)
        return prompt

    def prompt_name_of(self, task: Task | None, prompt_name: str | None, prompt: object) -> str | None:
        """``prompt_name``, or that of ``task``'s prompt if neither a name nor a prompt is given.

        Raises:
            OptionError: the task is unknown, or it belongs to another route of a model with a Router.
        """
        check_task_name(task)
        check_task(self._manifest.route, task)
        if prompt_name is None and prompt is None:
            return prompt_name_of_task(self._manifest.prompts, task)
        return prompt_name

    def prefix(self, prompt_name: str | None, prompt: str | None) -> str:
        """The prompt for each text: ``prompt``, or the one of that name, or the default.

        Raises:
            OptionError: no prompt of that name, or it belongs to another route of a model with a Router.
        """
        check_text("prompt_name", prompt_name)
        check_text("prompt", prompt)
        check_task(self._manifest.route, prompt_name)
        if prompt is not None:
            return prompt
        name = prompt_name if prompt_name is not None else self._manifest.default_prompt_name
        if name is None:
            return ""
        return named_prompt(self._manifest.prompts, name)

    def output_options(
        self,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
        precision: OutputPrecision = "float32",
        ranges: npt.NDArray[np.float32] | None = None,
    ) -> OutputOptions:
        """Validate the output arguments of :meth:`encode`.

        Args:
            truncate_dim: as in :meth:`encode`, like the other arguments.
            normalize_embeddings: see ``truncate_dim``.
            precision: see ``truncate_dim``.
            ranges: see ``truncate_dim``.

        Raises:
            OptionError: an unknown precision, a size out of range, an argument of the wrong type, or a model
                without vectors of texts.
        """
        self._check_dense()
        if precision not in OUTPUT_PRECISIONS:
            raise OptionError(
                f"precision={precision!r} is unknown; use one of {', '.join(OUTPUT_PRECISIONS)}."
            )
        check_flag("normalize_embeddings", normalize_embeddings)
        if truncate_dim is None:
            truncate_dim = self.dimension
        else:
            truncate_dim = whole_number("truncate_dim", truncate_dim, 1, self.full_dimension)
        return OutputOptions(truncate_dim, normalize_embeddings, precision, ranges)


def _windows(count: int, prompts: str | list[str]) -> Iterator[tuple[slice, str | list[str]]]:
    """Where each window of ``count`` texts lies, and its prompts."""
    for start in range(0, count, WINDOW):
        part = slice(start, start + WINDOW)
        yield part, prompts if isinstance(prompts, str) else prompts[part]
