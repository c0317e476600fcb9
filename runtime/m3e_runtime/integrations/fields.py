"""The options of :class:`TextEmbedder` as fields, for frameworks whose embeddings are pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, create_model

from m3e_runtime.backends.device import device_name
from m3e_runtime.integrations.embedder import DEFAULTS, EmbedderOptions, TextEmbedder, absolute

__all__ = ["EmbedderFields"]

_FIXED = Field(frozen=True)
"""The bundle is loaded already: a change would have no effect."""


class _BundleField(BaseModel):  # type: ignore[misc]
    """Loads the bundle at construction, so that a wrong path or option fails at once."""

    model_config = ConfigDict(extra="forbid")

    bundle: Annotated[str, BeforeValidator(absolute), _FIXED]

    _embedder: TextEmbedder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the bundle."""
        super().model_post_init(context)
        options: Any = {name: getattr(self, name) for name in DEFAULTS}
        self._embedder = TextEmbedder(self.bundle, **options)
        _ = self._embedder.encoder


def _fields() -> dict[str, Any]:
    """Type and default of each option."""
    kinds = get_type_hints(EmbedderOptions)
    kinds["device"] = Annotated[str, BeforeValidator(device_name)]
    return {name: (Annotated[kind, _FIXED], DEFAULTS[name]) for name, kind in kinds.items()}


EmbedderFields = create_model("EmbedderFields", __base__=_BundleField, __module__=__name__, **_fields())
