"""LangChain: a bundle as ``Embeddings``, or as a reranker. Needs the extra ``langchain``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m3e_runtime.extras import extra_packages

with extra_packages("the adapter for LangChain", "langchain", "langchain_core", "pydantic"):
    from langchain_core.cross_encoders import BaseCrossEncoder
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from pydantic import Field

    from m3e_runtime.integrations.fields import EmbedderFields, RerankerFields

__all__ = ["M3ECrossEncoder", "M3EEmbeddings", "M3EReranker"]


class M3EEmbeddings(EmbedderFields, Embeddings):  # type: ignore[misc]
    """Embeddings of a bundle; the fields are :class:`m3e_runtime.integrations.embedder.EmbedderOptions`.

    The asynchronous methods are LangChain's own, which run these in its executor; a bundle serves many
    threads.

    Example:
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> store = InMemoryVectorStore(M3EEmbeddings(bundle="m3e-base-int8"))
        >>> _ = store.add_texts(["如何更换花呗绑定银行卡", "今天天气很好"])
        >>> store.similarity_search("花呗更改绑定银行卡", k=1)[0].page_content
        '如何更换花呗绑定银行卡'
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts to be found."""
        vectors: list[list[float]] = self._embedder.documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Vector of a search query."""
        vector: list[float] = self._embedder.queries([text])[0].tolist()
        return vector


class M3EReranker(RerankerFields, BaseDocumentCompressor):  # type: ignore[misc]
    """Keeps the documents that are most relevant to a query, for a ``ContextualCompressionRetriever``.

    The fields are ``top_n``, the number of documents that are kept (None: all), and
    :class:`m3e_runtime.integrations.text_reranker.RerankerOptions`. The asynchronous method is LangChain's
    own, which runs this one in its executor.

    Example:
        >>> from langchain_core.documents import Document
        >>> documents = [Document("柏林有很多博物馆。"), Document("柏林有三百五十万人口。")]
        >>> reranker = M3EReranker(bundle="bge-reranker-base-int8", top_n=1)
        >>> reranker.compress_documents(documents, "人口有多少?")[0].page_content
        '柏林有三百五十万人口。'
    """

    top_n: int | None = Field(default=3, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> list[Document]:
        """Copies of the documents by falling relevance, with ``relevance_score`` in their metadata."""
        del callbacks
        kept = self._reranker.ranked(query, [each.page_content for each in documents], self.top_n)
        return [_with_score(documents[place], score) for place, score in kept]


class M3ECrossEncoder(RerankerFields, BaseCrossEncoder):  # type: ignore[misc]
    """Scores pairs, for LangChain's ``CrossEncoderReranker``.

    The fields are :class:`m3e_runtime.integrations.text_reranker.RerankerOptions`.

    Example:
        >>> M3ECrossEncoder(bundle="bge-reranker-base-int8").score([("人口有多少?", "柏林有很多博物馆。")])
        [0.0018]
    """

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """The score of each pair."""
        scores: list[float] = self._reranker.scores(text_pairs)
        return scores


def _with_score(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
