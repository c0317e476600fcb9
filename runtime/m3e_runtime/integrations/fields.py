"""The options of :class:`TextEmbedder` as fields, for frameworks whose embeddings are pydantic models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from m3e_runtime.backends.device import device_name
from m3e_runtime.integrations.embedder import EmbedderOptions, TextEmbedder, absolute

__all__ = ["EmbedderFields"]

_FIXED = Field(frozen=True)
"""The bundle is loaded by then: a change would go unheard."""


class EmbedderFields(BaseModel):  # type: ignore[misc]
    """Loads the bundle when it is made, so that a wrong path or option is told at once."""

    model_config = ConfigDict(extra="forbid")

    bundle: Annotated[str, BeforeValidator(absolute), _FIXED]
    device: Annotated[str, BeforeValidator(device_name), _FIXED] = "auto"
    artifact: Annotated[str | None, _FIXED] = None
    backend: Annotated[str | None, _FIXED] = None
    threads: Annotated[int | None, _FIXED] = None
    batch_size: Annotated[int | None, _FIXED] = None
    normalize_embeddings: Annotated[bool, _FIXED] = False
    truncate_dim: Annotated[int | None, _FIXED] = None
    query_prompt_name: Annotated[str | None, _FIXED] = None
    query_prompt: Annotated[str | None, _FIXED] = None
    document_prompt_name: Annotated[str | None, _FIXED] = None
    document_prompt: Annotated[str | None, _FIXED] = None

    _embedder: TextEmbedder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the bundle."""
        super().model_post_init(context)
        options: Any = {name: getattr(self, name) for name in EmbedderOptions.__annotations__}
        self._embedder = TextEmbedder(self.bundle, **options)
        _ = self._embedder.encoder
