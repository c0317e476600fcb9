"""Encoding texts to dense vectors, sparse vectors and multi-vectors."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_batch_size
from m3e_runtime.containers import as_list
from m3e_runtime.encoding.base import EncoderBase, windows
from m3e_runtime.errors import OptionError
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import prompt_for_each
from m3e_runtime.token_outputs import (
    Output,
    Outputs,
    SparseVector,
    TextOutputs,
    finish_tokens,
    wanted_outputs,
)

__all__ = ["OutputsEncoding"]


class OutputsEncoding(EncoderBase):
    """Sparse vectors and multi-vectors beside dense ones, for :class:`m3e_runtime.Encoder`."""

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
            instead = "; encode_chunks() gives dense vectors of chunks" if self._manifest.gives_dense else ""
            raise OptionError(f'truncation={truncation!r}: use "cut" or "error" here{instead}.')
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
