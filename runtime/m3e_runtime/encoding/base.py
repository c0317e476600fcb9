"""What every way of encoding needs: prompts, options of the vectors, tokens, and the texts that are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_flag, check_text, whole_number
from m3e_runtime.backends import OutputsBackend
from m3e_runtime.containers import as_list
from m3e_runtime.errors import InvalidTextError, OptionError
from m3e_runtime.late_interaction import (
    Task,
    check_task_name,
    expanded,
    prompt_name_of_task,
    settings_of_task,
)
from m3e_runtime.loaded_model import LoadedModel
from m3e_runtime.outputs import OUTPUT_PRECISIONS, OutputOptions, OutputPrecision
from m3e_runtime.prompts import named_prompt, prompt_for_each, with_prompts
from m3e_runtime.routes import check_task
from m3e_runtime.token_outputs import Output, given_outputs
from m3e_runtime.tokenization import TextTokenizer, TokenIds
from m3e_runtime.truncation import CutTexts

__all__ = ["WINDOW", "EncoderBase", "windows"]

WINDOW = 8192
"""Texts in a window. It is large enough to fill batches with texts of equal length."""

# These name the method of each remedy, because not every method that cuts texts has it.
_ADVICE = (
    "Encoder.find_truncated() says which, encode_chunks() gives dense vectors of all their parts, and "
    'encode(truncation="error") rejects them.'
)
_ADVICE_WITHOUT_DENSE = (
    'Encoder.find_truncated() says which, and encode_outputs(truncation="error") rejects them; divide them '
    "before."
)


class EncoderBase(LoadedModel):
    """A loaded bundle that gives vectors of texts."""

    _classifies = False

    def __init__(self, *loaded: Any) -> None:
        super().__init__(*loaded)
        self.cut_texts = CutTexts("texts", _ADVICE if self._manifest.gives_dense else _ADVICE_WITHOUT_DENSE)

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

    def given_outputs(self) -> list[Output]:
        """The names of the outputs that the model and the artifact give."""
        backend, given = self._backend, given_outputs(self._manifest.token_outputs)
        if isinstance(backend, OutputsBackend) and backend.gives_outputs:
            return given
        return [name for name in given if name == "dense"]

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

    def prompt_lengths(self, prompts: Sequence[str]) -> list[int] | None:
        """Number of prompt tokens in each text; None if the pooling includes prompts."""
        if self._manifest.include_prompt:
            return None
        lengths = {prompt: self.tokenizer.prompt_length(prompt) for prompt in set(prompts)}
        return [lengths[prompt] for prompt in prompts]

    def find_truncated(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        task: Task | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which texts :meth:`encode` cuts: those with more than :attr:`max_seq_length` tokens.

        With ``task``, which texts :meth:`encode_outputs` cuts: models such as ColBERT have other lengths for
        queries and for documents.

        Args:
            sentences: as in :meth:`encode`, like the other arguments.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.
            task: as in :meth:`encode_outputs`.

        Returns:
            bool ``[n]``; for a string ``[1]``.

        Raises:
            InvalidTextError: as :meth:`encode`.
            OptionError: as :meth:`encode`.
        """
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        prompts = self._prompts(self.prompt_name_of(task, prompt_name, prompt), prompt)
        each = prompts if isinstance(prompts, str) else prompt_for_each(prompts, texts)
        with self._named_by_place(texts, each):
            _, cut = self.tokenizer_of(task).encode_marked_in_pieces(with_prompts(each, texts))
        return np.array(cut, dtype=np.bool_)

    def tokenizer_of(self, task: Task | None) -> TextTokenizer:
        """:attr:`tokenizer` with the length of queries or documents, if the model has one for them."""
        settings = settings_of_task(self._manifest.multi_vector, task)
        return self.tokenizer if settings is None else self.tokenizer.limited(settings.max_length)

    def expanded(self, token_ids: list[TokenIds], task: Task | None) -> list[TokenIds]:
        """The token ids of queries with their expansion, if the model has one; those of others as given."""
        settings = settings_of_task(self._manifest.multi_vector, task)
        return token_ids if settings is None else expanded(token_ids, settings.expansion)

    def _prompts(self, prompt_name: str | None, prompt: str | Iterable[str] | None) -> str | Iterable[str]:
        if prompt is None or isinstance(prompt, str):
            return self.prefix(prompt_name, prompt)
        check_task(self._manifest.route, prompt_name)
        return prompt

    def _tokenize(
        self, texts: list[str], prompts: str | list[str], task: Task | None = None
    ) -> list[TokenIds]:
        tokenizer = self.tokenizer_of(task)
        token_ids, cut = tokenizer.encode_marked_in_pieces(with_prompts(prompts, texts))
        self.cut_texts.add(cut, tokenizer.max_length)
        return self.expanded(token_ids, task)

    def _left_out(self, prompts: str | list[str], count: int) -> list[int] | None:
        return self.prompt_lengths([prompts] * count if isinstance(prompts, str) else prompts)

    def _check_lengths(self, texts: list[str], prompts: str | list[str], task: Task | None = None) -> None:
        """Raise an error for the first text that is too long."""
        whole, tokenizer = with_prompts(prompts, texts), self.tokenizer_of(task)
        for part, _ in windows(len(texts), ""):
            with self._named_by_place(texts, prompts):
                _, cut = tokenizer.encode_marked_in_pieces(whole[part])
            if any(cut):
                index = part.start + cut.index(True)
                raise tokenizer.too_long(index, whole[index])

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

    def _check_dense(self) -> None:
        if self._manifest.gives_dense:
            return
        names = ", ".join(f'"{name}"' for name in self.given_outputs())
        raise OptionError(
            f"the model gives no vector of a text; use encode_outputs(texts, outputs=[{names}])."
        )


def windows(count: int, prompts: str | list[str]) -> Iterator[tuple[slice, str | list[str]]]:
    """Where each window of ``count`` texts lies, and its prompts."""
    for start in range(0, count, WINDOW):
        part = slice(start, start + WINDOW)
        yield part, prompts if isinstance(prompts, str) else prompts[part]
