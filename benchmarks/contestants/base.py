"""What every contestant offers."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Contestant", "Place", "mean_pool"]


@dataclass(frozen=True)
class Place:
    """Where a contestant computes: ``cpu`` or ``cuda``, and how many threads it has on the CPU."""

    device: str = "cpu"
    threads: int = 1


class Contestant(abc.ABC):
    """A model ready to encode."""

    @classmethod
    @abc.abstractmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        """Convert ``checkpoint`` into ``folder`` once; return what is loaded later."""

    @abc.abstractmethod
    def __init__(self, model: Path, place: Place) -> None:
        """Load ``model``."""

    @abc.abstractmethod
    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors of ``texts``, float32 ``[n, dimension]``, by the library's natural way for a list."""

    def tune(self, texts: list[str]) -> None:  # noqa: B027 - not everyone has something to choose
        """Choose what is best chosen by trying, such as the size of a batch, for texts like these."""

    def details(self, texts: list[str]) -> dict[str, Any]:
        """Further figures of interest."""
        return {}


def mean_pool(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the tokens: states ``[n, length, d]``, mask ``[n, length]``."""
    weights = mask[:, :, None].astype(np.float32)
    pooled: np.ndarray = (states * weights).sum(axis=1) / weights.sum(axis=1)
    return pooled
