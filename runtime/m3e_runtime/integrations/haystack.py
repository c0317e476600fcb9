"""Haystack: a bundle as embedders or as a ranker of a pipeline. Needs the extra ``haystack``.

Since Haystack 3 a stored pipeline is loaded only if its modules are trusted:
``Pipeline.load(file, allowed_modules=["m3e_runtime.integrations.haystack"])``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Unpack

from m3e_runtime.arguments import whole_number
from m3e_runtime.extras import extra_packages
from m3e_runtime.integrations.embedder import EmbedderOptions, TextEmbedder
from m3e_runtime.integrations.text_reranker import RerankerOptions, TextReranker

with extra_packages("the adapter for Haystack", "haystack", "haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict

__all__ = ["M3EDocumentEmbedder", "M3ERanker", "M3ETextEmbedder"]


@component
class M3ETextEmbedder:
    """Encodes a search query. The bundle is loaded by ``warm_up``, which a pipeline calls.

    Options are those of :class:`m3e_runtime.integrations.embedder.EmbedderOptions`.
    """

    def __init__(self, bundle: str | os.PathLike[str], **options: Unpack[EmbedderOptions]) -> None:
        self._embedder = TextEmbedder(bundle, **options)

    def warm_up(self) -> None:
        """Load the bundle."""
        _ = self._embedder.encoder

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]
    def run(self, text: str) -> dict[str, Any]:
        """Return the vector of ``text`` as ``embedding``."""
        if not isinstance(text, str):
            raise TypeError("M3ETextEmbedder takes one string; for documents use M3EDocumentEmbedder.")
        return {"embedding": self._embedder.queries([text])[0].tolist()}

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline stores: the bundle's path and the options."""
        stored: dict[str, Any] = default_to_dict(self, **self._embedder.config)
        return stored

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> M3ETextEmbedder:
        """Restore the embedder of a pipeline."""
        embedder: M3ETextEmbedder = default_from_dict(cls, data)
        return embedder


@component
class M3EDocumentEmbedder:
    """Encodes documents. The bundle is loaded by ``warm_up``, which a pipeline calls.

    Args:
        bundle: the bundle's folder.
        meta_fields_to_embed: names of metadata whose values are put before the content.
        embedding_separator: what is put between them.
        options: those of :class:`m3e_runtime.integrations.embedder.EmbedderOptions`.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        **options: Unpack[EmbedderOptions],
    ) -> None:
        self._embedder = TextEmbedder(bundle, **options)
        self._meta_fields = list(meta_fields_to_embed or [])
        self._separator = embedding_separator

    def warm_up(self) -> None:
        """Load the bundle."""
        _ = self._embedder.encoder

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of ``documents`` with their vectors."""
        if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
            raise TypeError("M3EDocumentEmbedder takes a list of Document; for a string use M3ETextEmbedder.")
        vectors = self._embedder.documents([self._text(document) for document in documents]).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline stores: the bundle's path and the options."""
        stored: dict[str, Any] = default_to_dict(
            self,
            meta_fields_to_embed=self._meta_fields,
            embedding_separator=self._separator,
            **self._embedder.config,
        )
        return stored

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> M3EDocumentEmbedder:
        """Restore the embedder of a pipeline."""
        embedder: M3EDocumentEmbedder = default_from_dict(cls, data)
        return embedder

    def _text(self, document: Document) -> str:
        return _joined(document, self._meta_fields, self._separator)


@component
class M3ERanker:
    """Ranks documents by their relevance to a query. ``warm_up``, which a pipeline calls, loads the bundle.

    Args:
        bundle: the bundle's folder.
        top_k: number of documents that are returned; None: all.
        score_threshold: documents with a lower score are left out.
        meta_fields_to_embed: names of metadata whose values are put before the content.
        embedding_separator: what is put between them.
        options: those of :class:`m3e_runtime.integrations.text_reranker.RerankerOptions`.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        top_k: int | None = 10,
        score_threshold: float | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        **options: Unpack[RerankerOptions],
    ) -> None:
        self._reranker = TextReranker(bundle, **options)
        self._top_k = _top_k(top_k)
        self._threshold = score_threshold
        self._meta_fields = list(meta_fields_to_embed or [])
        self._separator = embedding_separator

    def warm_up(self) -> None:
        """Load the bundle."""
        _ = self._reranker.reranker

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, Any]:
        """Return copies of ``documents`` with their scores, by falling score; both limits replace the own."""
        if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
            raise TypeError("M3ERanker takes a string and a list of Document.")
        most = self._top_k if top_k is None else _top_k(top_k)
        least = self._threshold if score_threshold is None else score_threshold
        texts = [_joined(document, self._meta_fields, self._separator) for document in documents]
        return {
            "documents": [
                replace(documents[place], score=score)
                for place, score in self._reranker.ranked(query, texts, most)
                if least is None or score >= least
            ]
        }

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline stores: the bundle's path and the options."""
        stored: dict[str, Any] = default_to_dict(
            self,
            top_k=self._top_k,
            score_threshold=self._threshold,
            meta_fields_to_embed=self._meta_fields,
            embedding_separator=self._separator,
            **self._reranker.config,
        )
        return stored

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> M3ERanker:
        """Restore the ranker of a pipeline."""
        ranker: M3ERanker = default_from_dict(cls, data)
        return ranker


def _top_k(value: Any) -> int | None:
    return None if value is None else whole_number("top_k", value, 1)


def _joined(document: Document, meta_fields: list[str], separator: str) -> str:
    """The values of these fields of the metadata, and the content."""
    values = (document.meta.get(name) for name in meta_fields)
    parts = [str(value) for value in values if value is not None]
    return separator.join([*parts, document.content or ""])
