"""The encoder: texts in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from m3e_runtime import outputs
from m3e_runtime.arguments import check_batch_size
from m3e_runtime.containers import as_list
from m3e_runtime.encoding.base import windows
from m3e_runtime.encoding.chunks import ChunkEncoding
from m3e_runtime.encoding.outputs import OutputsEncoding
from m3e_runtime.encoding.stream import StreamEncoding
from m3e_runtime.encoding.tokens import TokenEncoding
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import OutputPrecision
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import prompt_for_each, single_prompt
from m3e_runtime.truncation import Truncation, check_truncation

if TYPE_CHECKING:
    from m3e_runtime.chunking import ChunkedText, ChunkOptions

__all__ = ["Encoder", "as_list"]


class Encoder(ChunkEncoding, TokenEncoding, OutputsEncoding, StreamEncoding):
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
