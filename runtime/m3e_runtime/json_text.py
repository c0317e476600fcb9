"""JSON for other programs: a number that JSON does not have is ``null``."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["json_text"]


def json_text(content: Any, *, ascii_only: bool = True, indent: int | None = None) -> str:
    """Serialize ``content``. NaN and infinities, which RFC 8259 does not permit, become ``null``.

    Args:
        content: what :func:`json.dumps` takes.
        ascii_only: escape what is not ASCII.
        indent: as in :func:`json.dumps`.
    """
    return json.dumps(_finite(content), ensure_ascii=ascii_only, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
