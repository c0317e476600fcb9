"""Chroma: a bundle as ``EmbeddingFunction``. Needs the extra ``chroma``.

Importing this module registers the function as ``m3e``, so that Chroma can restore it from the configuration
of a collection.
"""

from __future__ import annotations

import os
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import BundleError
from m3e_runtime.extras import extra_packages
from m3e_runtime.integrations.embedder import EmbedderOptions, TextEmbedder

with extra_packages("the adapter for Chroma", "chroma", "chromadb"):
    from chromadb.api.types import Documents, EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function

__all__ = ["M3EEmbeddingFunction"]

_SPACES = {"cosine": "cosine", "dot": "ip", "euclidean": "l2", "manhattan": "l2"}
_CHANGES_VECTORS = (
    "artifact",
    "normalize_embeddings",
    "truncate_dim",
    "document_prompt_name",
    "document_prompt",
)


@register_embedding_function
class M3EEmbeddingFunction(EmbeddingFunction[Documents]):  # type: ignore[misc]
    """Encodes documents and queries with the bundle in a folder.

    The bundle is loaded at first use: Chroma also creates functions just to read their settings. A collection
    stores the hash of the weights behind its vectors, and the restored function rejects a bundle with other
    weights. So get a collection without ``embedding_function=``: Chroma only compares the name of a function
    that is passed there.

    Args:
        bundle: the bundle's folder.
        weights_sha256: hash of the weights that the bundle must come from; None: any.
        options: those of :class:`m3e_runtime.integrations.embedder.EmbedderOptions`.

    Example:
        >>> import chromadb
        >>> function = M3EEmbeddingFunction("m3e-base-int8")
        >>> collection = chromadb.EphemeralClient().create_collection("faq", embedding_function=function)
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        weights_sha256: str | None = None,
        **options: Unpack[EmbedderOptions],
    ) -> None:
        self._unchecked = TextEmbedder(bundle, **options)
        self._weights = weights_sha256

    def __call__(self, input: list[str]) -> list[npt.NDArray[np.float32]]:  # noqa: A002 - Chroma's name
        """Vectors of documents."""
        return list(self._embedder.documents(input))

    def embed_query(self, input: list[str]) -> list[npt.NDArray[np.float32]]:  # noqa: A002 - Chroma's name
        """Vectors of search queries."""
        return list(self._embedder.queries(input))

    def default_space(self) -> str:
        """The bundle's similarity, or the closest one in Chroma."""
        return _SPACES[self._embedder.encoder.bundle.manifest.similarity]

    @staticmethod
    def name() -> str:
        """The name that a collection stores."""
        return "m3e"

    def get_config(self) -> dict[str, Any]:
        """What a collection stores: the bundle's path, its weights' SHA-256 and the options."""
        return {**self._unchecked.config, "weights_sha256": self._weights or self._weights_now()}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> M3EEmbeddingFunction:
        """Restore the function of a collection."""
        return M3EEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Reject unknown options.

        Raises:
            TypeError: an option is unknown.
        """
        M3EEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Reject changes that would make the vectors of a collection incompatible.

        The bundle's path and device may change.

        Raises:
            ValueError: another option changes.
        """
        changed = [name for name in _CHANGES_VECTORS if old_config.get(name) != new_config.get(name)]
        weights = [config.get("weights_sha256") for config in (old_config, new_config)]
        if None not in weights and weights[0] != weights[1]:  # older collections did not store them
            changed.append("weights_sha256")
        if changed:
            raise ValueError(
                f"{', '.join(changed)}: cannot be changed, the collection's vectors depend on it."
            )

    @property
    def _embedder(self) -> TextEmbedder:
        """The embedder, after a check of its bundle.

        Raises:
            BundleError: the bundle comes from other weights.
        """
        now = self._unchecked.encoder.bundle.manifest.source
        if self._weights not in (None, now.weights_sha256):
            raise BundleError(
                f"{self._unchecked.config['bundle']} was made from other weights ({now.id}) than the vectors "
                "of this collection: give it the bundle that it was made with, or make a new collection."
            )
        return self._unchecked

    def _weights_now(self) -> str:
        return Bundle.open(self._unchecked.config["bundle"]).manifest.source.weights_sha256
