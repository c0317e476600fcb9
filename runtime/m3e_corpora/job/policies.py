"""What to do with rows that cannot be encoded, and with texts that are too long."""

from __future__ import annotations

from typing import Literal

__all__ = ["OnError", "OverLong"]

OnError = Literal["fail", "skip"]
"""Rows that cannot be encoded stop the job, or are left out and listed."""

OverLong = Literal["truncate", "skip", "fail", "chunk"]
"""Texts with more tokens than the model's limit are truncated, left out and listed, stop the job, or become a
row for each of their chunks."""
