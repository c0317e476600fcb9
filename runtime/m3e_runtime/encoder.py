"""The encoder: texts in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from m3e_runtime import outputs
from m3e_runtime.arguments import check_batch_size
from m3e_runtime.containers import as_list
from m3e_runtime.encoding.base import windows
from m3e_runtime.encoding.chunks import ChunkEncoding
from m3e_runtime.encoding.stream import StreamEncoding
from m3e_runtime.encoding.tokens import TokenEncoding
from m3e_runtime.errors import OptionError
from m3e_runtime.late_interaction import (
    Task,
)
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.outputs import OutputPrecision
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import prompt_for_each, single_prompt
from m3e_runtime.token_outputs import (
    Output,
    Outputs,
    SparseVector,
    TextOutputs,
    finish_tokens,
    wanted_outputs,
)
from m3e_runtime.truncation import Truncation, check_truncation

if TYPE_CHECKING:
    from m3e_runtime.chunking import ChunkedText, ChunkOptions

__all__ = ["Encoder", "as_list"]


class Encoder(ChunkEncoding, TokenEncoding, StreamEncoding):
    """A loaded bundle. Several threads can share an encoder; their calls do not affect each other's results.

    A pickle holds the bundle's path and the options of :meth:`load`; unpickling loads the bundle again.
    Copies share the engine. A child of ``fork()`` can use its parent's encoder, except on a GPU.

    Example:
        >>> from m3e_runtime import Encoder
        >>> encoder = Encoder.load("m3e-base-int8")
        >>> encoder.encode(["你好,世界", "Hello, world"]).shape
        (2, 768)
    """

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
            for part, some in windows(len(texts), each):
                self._encode_into(vectors[part], texts[part], some, batch_size, bar)
        return options.apply(vectors)

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
            for part, some in windows(len(texts), each):
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
