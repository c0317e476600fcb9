"""LlamaIndex: a bundle as ``BaseEmbedding``. Needs the extra ``llama-index``."""

from __future__ import annotations

import asyncio
from typing import Any

from m3e_runtime.extras import extra_packages

with extra_packages("the adapter for LlamaIndex", "llama-index", "llama_index", "pydantic"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from pydantic import Field

    from m3e_runtime.integrations.fields import EmbedderFields

__all__ = ["M3EEmbedding"]


class M3EEmbedding(EmbedderFields, BaseEmbedding):  # type: ignore[misc]
    """Embeddings of a bundle; the fields are :class:`m3e_runtime.integrations.embedder.EmbedderOptions`.

    ``embed_batch_size`` is the number of texts in a call from LlamaIndex, ``batch_size`` the number in a
    batch of the engine.

    Example:
        >>> from llama_index.core import Document, VectorStoreIndex
        >>> texts = ["如何更换花呗绑定银行卡", "今天天气很好"]
        >>> index = VectorStoreIndex.from_documents(
        ...     [Document(text=text) for text in texts], embed_model=M3EEmbedding(bundle="m3e-base-int8")
        ... )
    """

    # Sorting more texts together means less padding. The default of ten is meant for paid services.
    embed_batch_size: int = Field(default=512, gt=0, le=2048)

    def model_post_init(self, context: Any, /) -> None:
        """Load the bundle, and take the name of what it was made from."""
        super().model_post_init(context)
        if "model_name" not in self.model_fields_set:
            self.model_name = self._embedder.encoder.info["source"]

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's own serialization."""
        return "M3EEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._embedder.queries([query])[0].tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.documents(texts).tolist()
        return vectors

    # LlamaIndex itself would encode in the event loop, one text at a time.

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
