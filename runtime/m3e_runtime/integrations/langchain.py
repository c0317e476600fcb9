"""LangChain: a bundle as ``Embeddings``. Needs the extra ``langchain``."""

from __future__ import annotations

from m3e_runtime.extras import extra_packages

with extra_packages("the adapter for LangChain", "langchain", "langchain_core", "pydantic"):
    from langchain_core.embeddings import Embeddings

    from m3e_runtime.integrations.fields import EmbedderFields

__all__ = ["M3EEmbeddings"]


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
