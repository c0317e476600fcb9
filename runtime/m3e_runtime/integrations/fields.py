"""The options of :class:`TextEmbedder` and :class:`TextReranker` as fields of pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, create_model

from m3e_runtime.backends.device import device_name
from m3e_runtime.integrations import embedder, text_reranker
from m3e_runtime.integrations.embedder import EmbedderOptions, TextEmbedder
from m3e_runtime.integrations.late_bundle import absolute
from m3e_runtime.integrations.text_reranker import RerankerOptions, TextReranker

__all__ = ["EmbedderFields", "RerankerFields"]

_FIXED = Field(frozen=True)
"""The bundle is loaded already: a change would have no effect."""


class _EmbedderField(BaseModel):  # type: ignore[misc]
    """Loads the bundle at construction, so that a wrong path or option fails at once."""

    model_config = ConfigDict(extra="forbid")

    bundle: Annotated[str, BeforeValidator(absolute), _FIXED]

    _embedder: TextEmbedder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the bundle."""
        super().model_post_init(context)
        options: Any = {name: getattr(self, name) for name in embedder.DEFAULTS}
        self._embedder = TextEmbedder(self.bundle, **options)
        _ = self._embedder.encoder


class _RerankerField(BaseModel):  # type: ignore[misc]
    """Loads the bundle at construction, so that a wrong path or option fails at once."""

    model_config = ConfigDict(extra="forbid")

    bundle: Annotated[str, BeforeValidator(absolute), _FIXED]

    _reranker: TextReranker = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the bundle."""
        super().model_post_init(context)
        options: Any = {name: getattr(self, name) for name in text_reranker.DEFAULTS}
        self._reranker = TextReranker(self.bundle, **options)
        _ = self._reranker.reranker


def _fields(options: type[Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Type and default of each option."""
    kinds = get_type_hints(options)
    kinds["device"] = Annotated[str, BeforeValidator(device_name)]
    return {name: (Annotated[kind, _FIXED], defaults[name]) for name, kind in kinds.items()}


EmbedderFields = create_model(
    "EmbedderFields",
    __base__=_EmbedderField,
    __module__=__name__,
    **_fields(EmbedderOptions, embedder.DEFAULTS),
)
RerankerFields = create_model(
    "RerankerFields",
    __base__=_RerankerField,
    __module__=__name__,
    **_fields(RerankerOptions, text_reranker.DEFAULTS),
)
