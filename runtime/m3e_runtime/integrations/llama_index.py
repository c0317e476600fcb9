"""LlamaIndex: a bundle as ``BaseEmbedding``, or as a reranker. Needs the extra ``llama-index``."""

from __future__ import annotations

import asyncio
from typing import Any

from m3e_runtime.extras import extra_packages

with extra_packages("the adapter for LlamaIndex", "llama-index", "llama_index", "pydantic"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.callbacks import CBEventType, EventPayload
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
    from pydantic import Field

    from m3e_runtime.integrations.fields import EmbedderFields, RerankerFields

__all__ = ["M3EEmbedding", "M3ERerank"]


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


class M3ERerank(RerankerFields, BaseNodePostprocessor):  # type: ignore[misc]
    """Keeps the nodes that are most relevant to a query.

    The fields are ``top_n``, the number of nodes that are kept (None: all), ``keep_retrieval_score``, which
    stores the score before in the metadata as ``retrieval_score``, and
    :class:`m3e_runtime.integrations.text_reranker.RerankerOptions`. The text of a node is what LlamaIndex
    would embed, with its metadata. The asynchronous method is LlamaIndex's own, which runs this one in a
    thread.

    Example:
        >>> from llama_index.core.schema import NodeWithScore, TextNode
        >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("博物馆", "柏林有三百五十万人口。")]
        >>> reranker = M3ERerank(bundle="bge-reranker-base-int8", top_n=1)
        >>> reranker.postprocess_nodes(nodes, query_str="人口有多少?")[0].text
        '柏林有三百五十万人口。'
    """

    top_n: int | None = Field(default=2, ge=1)
    keep_retrieval_score: bool = False

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's own serialization."""
        return "M3ERerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("a query is needed: pass query_str or query_bundle.")
        query = query_bundle.query_str
        described = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self._reranker.reranker.info["source"],
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=described) as event:
            texts = [each.node.get_content(metadata_mode=MetadataMode.EMBED) for each in nodes]
            kept = [
                self._scored(nodes[place], score)
                for place, score in self._reranker.ranked(query, texts, self.top_n)
            ]
            event.on_end(payload={EventPayload.NODES: kept})
        return kept

    def _scored(self, found: NodeWithScore, score: float) -> NodeWithScore:
        node = found.node
        if self.keep_retrieval_score:
            metadata = {**node.metadata, "retrieval_score": found.score}
            node = node.model_copy(update={"metadata": metadata})
        return NodeWithScore(node=node, score=score)
