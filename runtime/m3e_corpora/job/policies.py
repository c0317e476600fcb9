"""What to do with rows that cannot be encoded, and with texts that are too long."""

from __future__ import annotations

from typing import Literal

__all__ = ["OnError", "OverLong"]

OverLong = Literal["truncate", "skip", "fail"]
OnError = Literal["fail", "skip"]
