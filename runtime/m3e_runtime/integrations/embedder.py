"""The base of the adapters: a bundle's path with options, and the encoding of queries and documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from m3e_runtime.containers import as_list
from m3e_runtime.encoder import Encoder
from m3e_runtime.integrations.late_bundle import LateBundle
from m3e_runtime.prompts import document_prompt_name, query_prompt_name
from m3e_runtime.routes import check_task

__all__ = ["DEFAULTS", "EmbedderOptions", "TextEmbedder"]


class EmbedderOptions(TypedDict, total=False):
    """The options beside the bundle, with the names of ``Encoder.load`` and ``Encoder.encode``.

    ``query_prompt_name`` and ``document_prompt_name`` name a prompt of the bundle. ``query_prompt`` and
    ``document_prompt`` are prompts themselves; ``""`` is none. By default the bundle's prompt for queries or
    documents is used, if it has one, else its default prompt.
    """

    device: str
    artifact: str | None
    backend: str | None
    threads: int | None
    batch_size: int | None
    normalize_embeddings: bool
    truncate_dim: int | None
    query_prompt_name: str | None
    query_prompt: str | None
    document_prompt_name: str | None
    document_prompt: str | None


DEFAULTS: dict[str, Any] = dict.fromkeys(EmbedderOptions.__annotations__) | {
    "device": "auto",
    "normalize_embeddings": False,
}
"""The default of each option. None leaves the choice to the bundle or the encoder."""


class TextEmbedder(LateBundle[Encoder]):
    """An embedding bundle, loaded at first use; see :class:`LateBundle`."""

    _defaults = DEFAULTS
    _numbers = ("threads", "batch_size", "truncate_dim")
    _kind = Encoder

    def __init__(self, bundle: str | os.PathLike[str], **options: Unpack[EmbedderOptions]) -> None:
        super().__init__(bundle, **options)

    @property
    def encoder(self) -> Encoder:
        """The bundle's encoder, loaded at first use.

        Raises:
            M3EError: as :meth:`Encoder.load`.
        """
        return self._model

    def queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of search queries, float32 ``[n, dimension]``."""
        chosen = self._options
        check_task(self.encoder.bundle.manifest.route, "query")
        name = chosen["query_prompt_name"] or query_prompt_name(self._prompts())
        return self._encode(texts, name, chosen["query_prompt"])

    def documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of texts to be found, float32 ``[n, dimension]``."""
        chosen = self._options
        check_task(self.encoder.bundle.manifest.route, "document")
        name = chosen["document_prompt_name"] or document_prompt_name(self._prompts())
        return self._encode(texts, name, chosen["document_prompt"])

    def _prompts(self) -> dict[str, str]:
        return self.encoder.bundle.manifest.prompts

    def _encode(
        self, texts: Sequence[str], prompt_name: str | None, prompt: str | None
    ) -> npt.NDArray[np.float32]:
        chosen = self._options
        vectors: npt.NDArray[np.float32] = self.encoder.encode(
            as_list(texts),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=chosen["batch_size"],
            normalize_embeddings=chosen["normalize_embeddings"],
            truncate_dim=chosen["truncate_dim"],
        )
        return vectors
