"""The order of scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["descending"]


def descending(scores: npt.NDArray[np.float32], most: int | None = None) -> list[int]:
    """Indices of the ``most`` largest scores, the largest first. Equal ones keep their order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:most].tolist()
    return order
