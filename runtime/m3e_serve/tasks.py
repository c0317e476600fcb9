"""What a served model does."""

from __future__ import annotations

from typing import Literal

__all__ = ["Task"]

Task = Literal["embed", "rerank", "classify"]
"""Vectors of texts; the relevance of a passage to a query; a score for each of several labels."""
