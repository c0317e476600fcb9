"""A bundle behind the interface of sentence-transformers' ``CrossEncoder``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_text, folder, whole_number
from m3e_runtime.backends.device import device_name, parse_device
from m3e_runtime.errors import OptionError
from m3e_runtime.integrations.hf_tokenizer import hf_tokenizer
from m3e_runtime.integrations.replacement import (
    NOT_OFFERED,
    check_place,
    checked_prompts,
    find_bundle,
    warn_of,
)
from m3e_runtime.integrations.token_tensors import import_torch
from m3e_runtime.reranker import Reranker
from m3e_runtime.scores import ActivationFn

__all__ = ["CrossEncoder"]

Scores = npt.NDArray[np.float32]


class CrossEncoder:
    """The scoring interface of ``sentence_transformers.CrossEncoder``. It is not a subclass.

    Deliberate differences: ``device`` is a string, an activation function may also be named (``"sigmoid"``),
    a list of one string is a single text, and an empty list gives float32.

    A pickle holds the bundle's path and the options. Copies share the engine.

    Args:
        model_name_or_path: folder of a bundle, or one that has a single bundle in it.
        device: as for :meth:`Reranker.load`; None is ``"auto"``.
        prompts: prompts by name, in addition to the bundle's, or in their place.
        default_prompt_name: the one to use where none is asked for.
        num_labels: the bundle's number of labels, or None.
        max_length: longest pair in tokens, at most the bundle's own limit.
        activation_fn: applied to the logits; by default the bundle's. A function gets a tensor, as in
            sentence-transformers, and needs torch.
        artifact: as for :meth:`Reranker.load`, not in sentence-transformers.
        threads: as for :meth:`Reranker.load`, not in sentence-transformers.
        ignored: other arguments that sentence-transformers has; they are ignored with a warning.

    Raises:
        M3EError: as :meth:`Reranker.load`.
        OptionError: another number of labels, an unknown activation or default prompt, or a length out of
            range.
        TypeError: an argument that sentence-transformers does not have, or ``modules``, which creates models.

    Example:
        >>> model = CrossEncoder("bge-reranker-base-int8")
        >>> model.rank("人口有多少?", ["柏林有三百五十万人口。", "柏林有很多博物馆。"])[0]["corpus_id"]
        0
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: Any = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Any = None,
        artifact: str | None = None,
        threads: int | None = None,
        **ignored: Any,
    ) -> None:
        warn_of(ignored, "CrossEncoder", "keep_in_fp32_modules")
        wanted = device_name(device)
        found = find_bundle(folder("model_name_or_path", model_name_or_path))
        self._reranker = Reranker.load(found, device=wanted, artifact=artifact, threads=threads)
        self._gpu = None if self._reranker.info["device"] == "cpu" else parse_device(wanted).index
        self._longest = self._reranker.max_length
        manifest = self._reranker.bundle.manifest
        if num_labels not in (None, self.num_labels):
            raise OptionError(f"num_labels={num_labels}: the bundle has {self.num_labels}.")
        if max_length is not None:
            self.max_seq_length = max_length
        self.prompts = {**manifest.prompts, **checked_prompts(prompts)}
        self.default_prompt_name = default_prompt_name or manifest.default_prompt_name
        self._prefix(None, None)
        self.activation_fn = _first_given(activation_fn, self._reranker.classification.activation)
        self._reranker.activation(self.activation_fn)

    def predict(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        activation_fct: Any = None,
        num_workers: Any = None,
    ) -> Any:
        """Score one pair of texts or a list of pairs; parameters as in sentence-transformers.

        Args:
            inputs: a pair, or a list of pairs; ``sentences`` in sentence-transformers before 5.4.
            prompt_name: name of the prompt that is put before the first text of each pair.
            prompt: a prompt; it takes precedence over ``prompt_name``.
            batch_size: most pairs in a batch of the engine. By default only the token budget limits it: the
                32 of sentence-transformers would slow it down.
            show_progress_bar: by default on a terminal, for calls that take longer than a moment.
            activation_fn: in place of the model's :attr:`activation_fn`.
            apply_softmax: make the scores of several labels sum to 1.
            convert_to_numpy: return one array; else a list of tensors.
            convert_to_tensor: return one tensor, on the CPU; it takes precedence over ``convert_to_numpy``.
            device: only the one that the model is on.
            pool: not offered.
            chunk_size: of no use without a pool.
            sentences: the older name of ``inputs``.
            activation_fct: the older name of ``activation_fn``.
            num_workers: of no use, also in sentence-transformers.

        Returns:
            ``[n]`` for one label, ``[n, labels]`` for several; for a single pair a number, or ``[labels]``.

        Raises:
            InvalidTextError: not a string or a pair of strings, or a lone surrogate.
            OptionError: a value is invalid.
            DependencyMissingError: torch is needed, and not installed.
            TypeError: there are no pairs, or they are passed under both names.
        """
        del chunk_size, num_workers
        check_place(device, pool, self.device)
        if (inputs is None) == (sentences is None):
            raise TypeError("predict() takes pairs as `inputs`, or as `sentences`, and not as both.")
        scores = self._reranker.predict(
            sentences if inputs is None else inputs,
            prompt=self._prefix(prompt_name, prompt),
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=_on_tensors(_first_given(activation_fn, activation_fct, self.activation_fn)),
            apply_softmax=bool(apply_softmax),
        )
        if convert_to_numpy and not convert_to_tensor:
            return scores
        tensor = import_torch().from_numpy(np.asarray(scores))
        is_single = isinstance(scores, np.float32) or (scores.ndim == 1 and self.num_labels > 1)
        return tensor if convert_to_tensor or is_single else list(tensor)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        **without_effect: Any,
    ) -> list[dict[str, Any]]:
        """Rank documents by their relevance to a query; parameters as in sentence-transformers.

        Args:
            query: the query.
            documents: the documents.
            top_k: how many are returned; None: all.
            return_documents: also return the documents, as ``text``.
            prompt_name: as in :meth:`predict`, like the next seven.
            prompt: see ``prompt_name``.
            batch_size: see ``prompt_name``.
            show_progress_bar: see ``prompt_name``.
            activation_fn: see ``prompt_name``.
            device: see ``prompt_name``.
            pool: see ``prompt_name``.
            chunk_size: see ``prompt_name``.
            without_effect: arguments that have no effect in sentence-transformers either.

        Returns:
            ``corpus_id``, ``score`` and, if asked for, ``text`` of each document, by falling score.

        Raises:
            InvalidTextError: as :meth:`predict`.
            OptionError: as :meth:`predict`, and a model of several labels.
            TypeError: an unknown argument.
        """
        del chunk_size
        check_place(device, pool, self.device)
        unknown = without_effect.keys() - _WITHOUT_EFFECT
        if unknown:
            raise TypeError(f"rank() takes no argument {', '.join(sorted(unknown))}.")
        return self._reranker.rank(
            query,
            documents,
            top_k,
            return_documents,
            prompt=self._prefix(prompt_name, prompt),
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=_on_tensors(_first_given(activation_fn, self.activation_fn)),
        )

    @property
    def num_labels(self) -> int:
        """Number of labels; rerankers have one."""
        return len(self._reranker.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each logit, not in sentence-transformers."""
        return self._reranker.labels

    @property
    def device(self) -> str:
        """``"cpu"`` or the GPU, as sentence-transformers would name it."""
        return "cpu" if self._gpu is None else f"cuda:{self._gpu}"

    @property
    def max_seq_length(self) -> int:
        """Longest pair in tokens, special tokens included. Can be set, but not above the bundle's own."""
        return self._reranker.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        tokenizer = self._reranker.tokenizer
        value = whole_number("max_seq_length", value, tokenizer.pair_special_tokens + 1, self._longest)
        self._reranker = copy(self._reranker)  # copies of this model stay as they are
        self._reranker.tokenizer = tokenizer.limited(value)

    @property
    def max_length(self) -> int:
        """The older name of :attr:`max_seq_length`."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        self.max_seq_length = value

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers' ``PreTrainedTokenizerFast``, a copy. Needs transformers, not torch.

        Raises:
            DependencyMissingError: transformers is not installed.
        """
        return hf_tokenizer(self._reranker)

    def eval(self) -> CrossEncoder:
        """The model itself: it never trains."""
        return self

    def to(self, device: Any) -> CrossEncoder:
        """The model itself.

        Raises:
            OptionError: another device than the one it is on.
        """
        check_place(device, None, self.device)
        return self

    def __repr__(self) -> str:
        return f"CrossEncoder({self._reranker!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        reason = NOT_OFFERED.get(name, "is not an attribute of a bundle's CrossEncoder.")
        raise AttributeError(f"{name} {reason}")

    def _prefix(self, prompt_name: str | None, prompt: str | None) -> str:
        """An empty string for None, so that the bundle's default prompt is not used."""
        check_text("prompt_name", prompt_name)
        check_text("prompt", prompt)
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if prompt_name is None else prompt_name
        if name is not None and name not in self.prompts:
            raise OptionError(f"prompt_name={name!r} is not among the prompts: {list(self.prompts)}.")
        return "" if name is None else self.prompts[name]


_WITHOUT_EFFECT = {"num_workers", "apply_softmax", "convert_to_numpy", "convert_to_tensor"}


def _first_given(*values: Any) -> Any:
    """The first value that is not None. An empty ``torch.nn.Sequential`` is false, and a function."""
    return next((value for value in values if value is not None), None)


def _on_tensors(activation_fn: Any) -> str | ActivationFn:
    """The function on arrays, for one on tensors. A name is returned as it is."""
    if isinstance(activation_fn, str) or not callable(activation_fn):
        named: str = activation_fn
        return named
    torch = sys.modules.get("torch") or import_torch()

    def on_arrays(logits: Scores) -> Any:
        with torch.inference_mode():
            found = activation_fn(torch.from_numpy(logits))
            if isinstance(found, torch.Tensor):
                found = found.float().numpy()
        is_squeezed = logits.shape[1] == 1 and np.shape(found) == logits.shape[:1]
        return found[:, np.newaxis] if is_squeezed else found

    return on_arrays
