"""The reranker: pairs of texts in, scores out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_batch_size, check_flag, check_text
from m3e_runtime.errors import InvalidTextError, OptionError
from m3e_runtime.loaded_model import LoadedModel
from m3e_runtime.manifest import Classification
from m3e_runtime.pair_inputs import (
    PairInput,
    as_pairs,
    check_valid,
    ranking_pairs,
    tokenize_pairs,
    with_prompt,
)
from m3e_runtime.pairs import TokenizedPairs
from m3e_runtime.progress import progress_bar
from m3e_runtime.scores import ActivationFn, activate, activation_named, check_top_k, ranked
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.truncation import CutTexts

__all__ = ["Reranker"]

WINDOW = 8192
"""Pairs that are tokenized and sorted together."""


_ADVICE = "Reranker.tokenize(pairs).cut says which, tokenize(pairs, truncate=False) rejects them."


class Reranker(LoadedModel):
    """A loaded bundle of a reranker or classifier. Several threads can share it.

    A pickle holds the bundle's path and the options of :meth:`load`; unpickling loads the bundle again.
    Copies share the engine. A child of ``fork()`` can use its parent's reranker, except on a GPU.

    Example:
        >>> from m3e_runtime import Reranker
        >>> reranker = Reranker.load("bge-reranker-base-int8")
        >>> reranker.predict([("人口有多少?", "柏林有三百五十万人口。")]).shape
        (1,)
    """

    _classifies = True

    def __init__(self, *loaded: Any) -> None:
        super().__init__(*loaded)
        self.cut_pairs = CutTexts("pairs", _ADVICE)

    @staticmethod
    def load(
        path: str | bytes | os.PathLike[str],
        *,
        device: Any = "auto",
        artifact: str | None = None,
        backend: str | None = None,
        threads: int | None = None,
        verify: bool = True,
    ) -> Reranker:
        """Load a bundle.

        Args:
            path: the bundle's folder, as written by ``m3e-export``.
            device: as in :meth:`Encoder.load`, like the other arguments.
            artifact: see ``device``.
            backend: see ``device``.
            threads: see ``device``.
            verify: see ``device``.

        Raises:
            BundleError: as :meth:`Encoder.load`, and a bundle that gives vectors of texts.
            M3EError: as :meth:`Encoder.load`.
        """
        return Reranker._open(path, device, artifact, backend, threads, verify)

    @property
    def classification(self) -> Classification:
        """What the manifest says of the outputs."""
        found = self._manifest.classification
        assert found is not None  # noqa: S101 - other bundles are not loaded
        return found

    @property
    def _outputs(self) -> str:
        return f"{len(self.labels)} label{'s' if len(self.labels) > 1 else ''}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each logit. Rerankers have one."""
        return self.classification.labels

    @property
    def max_length(self) -> int:
        """Longest pair in tokens, including special tokens. Longer pairs are truncated."""
        return self.tokenizer.max_length

    @property
    def info(self) -> dict[str, Any]:
        """The artifact, precision, engine, threads and measured fidelity in use.

        ``truncated`` is the number of pairs that were cut so far, because they have more tokens than
        ``max_length``.
        """
        measured = self.artifact.score_fidelity
        names = ("oracle", "groups", "pairs", "mean_difference", "max_difference", "order_kept", "ndcg_at_10")
        return {
            **super().info,
            "labels": list(self.labels),
            "activation": self.classification.activation,
            "token_types": self.classification.token_types,
            "max_length": self.max_length,
            "truncated": self.cut_pairs.count,
            "fidelity": measured and {name: getattr(measured, name) for name in names},
        }

    def predict(
        self,
        sentences: str | Sequence[str] | Iterable[str | Sequence[str]],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: str | ActivationFn | None = None,
        apply_softmax: bool = False,
    ) -> Any:
        """Score one pair of texts or a list of pairs.

        Parameter names and meanings are those of ``CrossEncoder.predict``.

        Args:
            sentences: a pair of texts, ``(query, passage)``, or a list of pairs. A classifier of single texts
                takes a string, or a list of lists of one string.
            prompt_name: name of a prompt of the checkpoint, put before the first text of each pair.
            prompt: a prompt; it takes precedence over ``prompt_name``.
            batch_size: most pairs in one run of the engine; by default only the token budget limits it.
            show_progress_bar: by default on a terminal, for calls that take longer than a moment.
            activation_fn: ``"identity"``, ``"sigmoid"``, ``"softmax"``, or a function that takes the logits,
                float32 ``[n, labels]``, and returns an array of that shape. By default the checkpoint's, see
                ``info["activation"]``.
            apply_softmax: make the scores of several labels sum to 1.

        Returns:
            float32: ``[n]`` for one label, ``[n, labels]`` for several; for a single pair a number, or
            ``[labels]``.

        Raises:
            InvalidTextError: not a string or a pair of strings, or a lone surrogate.
            OptionError: an unknown prompt or activation, a size out of range, or an argument of the wrong
                type.
        """
        function = self.activation(activation_fn)
        check_flag("apply_softmax", apply_softmax)
        inputs, is_single = as_pairs(sentences)
        logits = self._logits(inputs, self.prefix(prompt_name, prompt), batch_size, show_progress_bar)
        scores = activate(logits, function, bool(apply_softmax))
        return scores[0] if is_single else scores

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: str | ActivationFn | None = None,
    ) -> list[dict[str, Any]]:
        """Rank documents by their relevance to a query.

        Parameter names and meanings are those of ``CrossEncoder.rank``.

        Args:
            query: the query.
            documents: the documents.
            top_k: how many are returned; None: all.
            return_documents: also return the documents.
            prompt_name: as in :meth:`predict`, like the other arguments.
            prompt: see ``prompt_name``.
            batch_size: see ``prompt_name``.
            show_progress_bar: see ``prompt_name``.
            activation_fn: see ``prompt_name``.

        Returns:
            A dictionary for each document, by falling score: ``corpus_id``, its place among ``documents``;
            ``score``; with ``return_documents`` also ``text``. Documents of equal score keep their order.

        Raises:
            InvalidTextError: as :meth:`predict`.
            OptionError: as :meth:`predict`, and a model of several labels.
        """
        self.check_ranks()
        check_flag("return_documents", return_documents)
        top_k = check_top_k(top_k)
        texts, pairs = ranking_pairs(query, documents)
        scores = self.predict(
            pairs, prompt_name, prompt, batch_size, show_progress_bar, activation_fn=activation_fn
        )
        return ranked(scores, texts, top_k, bool(return_documents))

    def logits(
        self,
        pairs: str | Sequence[str] | Iterable[str | Sequence[str]],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> npt.NDArray[np.float32]:
        """What the model gives before the activation function. The arguments are those of :meth:`predict`.

        Args:
            pairs: as ``sentences`` in :meth:`predict`.
            prompt_name: as in :meth:`predict`, like the other arguments.
            prompt: see ``prompt_name``.
            batch_size: see ``prompt_name``.
            show_progress_bar: see ``prompt_name``.

        Returns:
            float32 ``[n, labels]``, also for one label; ``[labels]`` for a single pair.

        Raises:
            InvalidTextError: as :meth:`predict`.
            OptionError: as :meth:`predict`.
        """
        inputs, is_single = as_pairs(pairs)
        found = self._logits(inputs, self.prefix(prompt_name, prompt), batch_size, show_progress_bar)
        only: npt.NDArray[np.float32] = found[0]
        return only if is_single else found

    def prefix(self, prompt_name: str | None = None, prompt: str | None = None) -> str:
        """The prompt before each first text: ``prompt``, or the one of that name, or the default.

        Raises:
            OptionError: no prompt of that name.
        """
        check_text("prompt_name", prompt_name)
        check_text("prompt", prompt)
        if prompt is not None:
            return prompt
        prompts, default = self._manifest.prompts, self._manifest.default_prompt_name
        name = default if prompt_name is None else prompt_name
        if name is not None and name not in prompts:
            known = ", ".join(sorted(prompts)) or "none"
            raise OptionError(f"prompt_name={name!r} is not in the bundle; it has: {known}.")
        return "" if name is None else prompts[name]

    def activation(self, activation_fn: str | ActivationFn | None = None) -> ActivationFn:
        """The activation function of that name, by default the checkpoint's.

        Raises:
            OptionError: an unknown name.
        """
        return activation_named(self.classification.activation if activation_fn is None else activation_fn)

    def check_ranks(self) -> None:
        """Check that the model can rank.

        Raises:
            OptionError: it has several labels.
        """
        if len(self.labels) != 1:
            raise OptionError(
                f"rank() needs a model of one label, and this one has {len(self.labels)}; use predict()."
            )

    def tokenize(self, pairs: Sequence[PairInput], truncate: bool = True) -> TokenizedPairs:
        """Token ids and types of pairs and single texts, the first half of :meth:`predict`.

        Args:
            pairs: tuples of one or two texts, prompts included.
            truncate: truncate pairs that are too long instead of raising an error.

        Raises:
            InvalidTextError: not a string, or a lone surrogate.
            TextTooLongError: a pair is too long, and ``truncate`` is false.
        """
        return tokenize_pairs(self.tokenizer, pairs, truncate)

    def token_types(self, types: Sequence[TokenIds]) -> Sequence[TokenIds] | None:
        """The types as :meth:`run` takes them; None for a model without."""
        return types if self.classification.token_types else None

    def _logits(
        self, pairs: list[PairInput], prefix: str, batch_size: int | None, show_progress_bar: bool | None
    ) -> npt.NDArray[np.float32]:
        check_batch_size(batch_size)
        pairs = with_prompt(prefix, pairs)
        logits = np.empty((len(pairs), len(self.labels)), dtype=np.float32)
        bar_of = progress_bar(len(pairs), "pair", "Scoring", show_progress_bar)
        with self._named_by_place(pairs), bar_of as bar:
            for start in range(0, len(pairs), WINDOW):
                window = slice(start, start + WINDOW)
                self._score_into(logits[window], pairs[window], batch_size, bar)
        return logits

    def _score_into(
        self, logits: npt.NDArray[np.float32], pairs: list[PairInput], batch_size: int | None, bar: Any
    ) -> None:
        tokens = self.tokenize(pairs)
        self.cut_pairs.add(tokens.cut, self.max_length)
        for batch, found in self.run(tokens.ids, batch_size, None, self.token_types(tokens.types)):
            logits[batch.indices] = found
            bar.update(len(batch.indices))

    @contextmanager
    def _named_by_place(self, pairs: list[PairInput]) -> Iterator[None]:
        """An invalid pair of a window is named by its place among all."""
        try:
            yield
        except InvalidTextError:
            for index, pair in enumerate(pairs):
                check_valid(index, pair)
            raise
