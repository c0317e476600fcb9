"""Arrow types for columns of JSON, which declares none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from m3e_corpora.arrow import import_arrow

__all__ = ["JSON_MARK", "infer_field", "misfit"]

JSON_MARK = b"m3e.json"
"""Key in a field's metadata. It marks a column whose strings are JSON."""

_INT64 = range(-(1 << 63), 1 << 63)
_INTEGERS = {"int32": range(-(1 << 31), 1 << 31), "int64": _INT64}


def infer_field(name: str, values: Iterable[Any]) -> Any:
    """Infer the Arrow field of a column from a sample of its values.

    The type is bool, int64, double or string. Mixed and nested values become strings of JSON. A column of
    nulls becomes a column of strings.
    """
    arrow = import_arrow("Parquet")
    types = {type(value) for value in values if value is not None and not _too_large(value)}
    types |= {object for value in values if _too_large(value)}
    if types == {bool}:
        return arrow.field(name, arrow.bool_())
    if types == {int}:
        return arrow.field(name, arrow.int64())
    if types in ({float}, {int, float}):
        return arrow.field(name, arrow.float64())
    if types <= {str}:
        return arrow.field(name, arrow.string())
    return arrow.field(name, arrow.string(), metadata={JSON_MARK: b"1"})


def misfit(value: Any, field: Any) -> str | None:
    """Say why ``value`` cannot be stored in the Arrow field ``field``; None if it can.

    The field comes from :func:`infer_field`, or is int32 or string if a folder names it.
    """
    if value is None or _fits(value, str(field.type)):
        return None
    return f"field {field.name!r} is {type(value).__name__}, but its column is {field.type}."


def _fits(value: Any, arrow_type: str) -> bool:
    if arrow_type == "bool":
        return isinstance(value, bool)
    if arrow_type in _INTEGERS:
        return type(value) is int and value in _INTEGERS[arrow_type]
    if arrow_type == "double":
        return type(value) in (int, float)
    return arrow_type == "string" and isinstance(value, str)


def _too_large(value: Any) -> bool:
    return type(value) is int and value not in _INT64
