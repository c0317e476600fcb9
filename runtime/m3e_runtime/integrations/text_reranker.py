"""The base of the adapters for rerankers: a bundle's path with options, and the order of documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from m3e_runtime.integrations.late_bundle import LateBundle
from m3e_runtime.reranker import Reranker

__all__ = ["DEFAULTS", "RerankerOptions", "TextReranker"]


class RerankerOptions(TypedDict, total=False):
    """The options beside the bundle, with the names of ``Reranker.load`` and ``Reranker.predict``.

    ``activation_fn`` is ``"identity"``, ``"sigmoid"`` or ``"softmax"``; by default the bundle's.
    """

    device: str
    artifact: str | None
    backend: str | None
    threads: int | None
    batch_size: int | None
    prompt_name: str | None
    prompt: str | None
    activation_fn: str | None


DEFAULTS: dict[str, Any] = dict.fromkeys(RerankerOptions.__annotations__) | {"device": "auto"}
"""The default of each option. None leaves the choice to the bundle."""


class TextReranker(LateBundle[Reranker]):
    """A bundle of a reranker, loaded at first use; see :class:`LateBundle`."""

    _defaults = DEFAULTS
    _numbers = ("threads", "batch_size")
    _kind = Reranker

    def __init__(self, bundle: str | os.PathLike[str], **options: Unpack[RerankerOptions]) -> None:
        super().__init__(bundle, **options)

    @property
    def reranker(self) -> Reranker:
        """The bundle's reranker, loaded at first use.

        Raises:
            M3EError: as :meth:`Reranker.load`.
            OptionError: an unknown activation or prompt, or a model of several labels.
        """
        model = self._model
        model.check_ranks()
        model.activation(self._options["activation_fn"])
        model.prefix(self._options["prompt_name"], self._options["prompt"])
        return model

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The score of each pair."""
        chosen = self._options
        found: list[float] = self.reranker.predict(
            list(pairs),
            prompt_name=chosen["prompt_name"],
            prompt=chosen["prompt"],
            batch_size=chosen["batch_size"],
            activation_fn=chosen["activation_fn"],
        ).tolist()
        return found

    def ranked(self, query: str, texts: Sequence[str], most: int | None) -> list[tuple[int, float]]:
        """Place and score of each text, by falling score; at most ``most``, None: all."""
        scores = self.scores([(query, text) for text in texts])
        return sorted(enumerate(scores), key=lambda each: -each[1])[:most]
