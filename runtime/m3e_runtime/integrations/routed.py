"""Several bundles as one sentence-transformers model with a Router."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from m3e_runtime.errors import OptionError
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer

__all__ = ["RoutedSentenceTransformer"]


class RoutedSentenceTransformer:
    """The bundles of a model's routes. The task of a text selects one.

    ``m3e-export --route NAME`` makes one bundle of each route.

    Args:
        routes: folders of bundles by the name of their route, which is that of the task.
        default_route: the route of texts without a task; by default a task is required.
        options: as for :class:`SentenceTransformer`, for every bundle.

    Raises:
        M3EError: as :meth:`Encoder.load`.
        OptionError: no routes, an unknown default, or bundles whose vectors cannot be compared.

    Example:
        >>> model = RoutedSentenceTransformer({"query": "m3e-query-fp32", "document": "m3e-document-fp32"})
        >>> model.similarity(model.encode_query("你好"), model.encode_document(["您好", "世界"])).shape
        (1, 2)
    """

    def __init__(
        self,
        routes: Mapping[str, str | os.PathLike[str]],
        *,
        default_route: str | None = None,
        **options: Any,
    ) -> None:
        if not routes:
            raise OptionError("routes: at least one bundle is needed.")
        self._routes = {name: SentenceTransformer(folder, **options) for name, folder in routes.items()}
        self.default_route = default_route
        if default_route is not None:
            self.route(default_route)
        self._check_comparable()

    def _check_comparable(self) -> None:
        for of in (SentenceTransformer.get_sentence_embedding_dimension, _similarity):
            found = {name: of(model) for name, model in self._routes.items()}
            if len(set(found.values())) > 1:
                raise OptionError(f"routes: vectors of these bundles cannot be compared: {found}.")

    def route(self, task: str | None = None) -> SentenceTransformer:
        """The model for ``task``.

        Raises:
            OptionError: there is no such route, or no task and no default route.
        """
        name = self.default_route if task is None else task
        if name not in self._routes:
            raise OptionError(f"task={task!r}: choose one of {', '.join(sorted(self._routes))}.")
        return self._routes[name]

    def encode(self, *args: Any, task: str | None = None, **kwargs: Any) -> Any:
        """:meth:`SentenceTransformer.encode` of the route for ``task``."""
        return self.route(task).encode(*args, **kwargs)

    def encode_query(self, *args: Any, **kwargs: Any) -> Any:
        """:meth:`SentenceTransformer.encode_query` of the route ``query``."""
        return self.route("query").encode_query(*args, **kwargs)

    def encode_document(self, *args: Any, **kwargs: Any) -> Any:
        """:meth:`SentenceTransformer.encode_document` of the route ``document``."""
        return self.route("document").encode_document(*args, **kwargs)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """:meth:`SentenceTransformer.similarity`, which is the same for every route."""
        return next(iter(self._routes.values())).similarity(embeddings1, embeddings2)


def _similarity(model: SentenceTransformer) -> str:
    return str(model.similarity_fn_name)
