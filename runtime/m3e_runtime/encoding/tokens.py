"""Encoding texts to a vector of each token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_batch_size
from m3e_runtime.containers import as_list
from m3e_runtime.encoding.base import EncoderBase, windows
from m3e_runtime.progress import progress_bar
from m3e_runtime.prompts import prompt_for_each, single_prompt
from m3e_runtime.token_embeddings import EncodedText

__all__ = ["TokenEncoding"]


class TokenEncoding(EncoderBase):
    """Vectors of tokens, for :class:`m3e_runtime.Encoder`."""

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
            for part, some in windows(len(texts), each):
                encoded += self._with_tokens(texts[part], some, batch_size, bar)
        return encoded

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
