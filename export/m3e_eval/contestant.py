"""What every model in an evaluation has: a name, an engine, and mteb's record of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["REFERENCE", "EvaluatedModel"]

REFERENCE = "pytorch"
"""The name of the original's column."""


class EvaluatedModel(ABC):
    """An artifact of a bundle, or the PyTorch original."""

    kind: ClassVar[str]

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self._source = source

    @property
    @abstractmethod
    def engine(self) -> str:
        """The engine and its version."""

    @property
    @abstractmethod
    def precision(self) -> str:
        """``fp32``, ``fp16`` or ``int8``."""

    @property
    def mteb_model_meta(self) -> Any:
        """The model's name and revision, for mteb's records."""
        from mteb.models import ModelMeta

        name = f"{self._source.rstrip('/').split('/')[-1] or 'checkpoint'}/{self.name}"
        return ModelMeta.create_empty({"name": name, "revision": self.precision})

    def close(self) -> None:  # noqa: B027 - most models have nothing to release
        """Release the memory of a GPU."""
