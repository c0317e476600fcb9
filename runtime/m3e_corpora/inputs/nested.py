"""Nested fields: ``doc.body`` is the field ``body`` of the object or struct ``doc``.

A field whose own name contains the dot takes precedence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from m3e_corpora.arrow import import_arrow

__all__ = ["OBJECT", "column_at", "dotted_names", "field_at", "value_at", "with_value", "without_value"]

OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Decodes an object and leaves its values as they are in the file."""


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """The JSON of a field, a ``msgspec.Raw``; None if there is no such field."""
    for head, rest in _splits(name):
        if head not in values:
            continue
        found = values[head] if rest is None else value_at(_object(values[head]), rest)
        if found is not None:
            return found
    return None


def without_value(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return ``values`` without the field that :func:`value_at` finds."""
    for head, rest in _splits(name):
        if head in values and rest is None:
            return {key: value for key, value in values.items() if key != head}
        if head in values and rest is not None and value_at(below := _object(values[head]), rest) is not None:
            return {**values, head: msgspec.Raw(msgspec.json.encode(without_value(below, rest)))}
    return values


def with_value(values: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    """Return ``values`` with another value of the field that :func:`value_at` finds."""
    for head, rest in _splits(name):
        if head in values and rest is None:
            return {**values, head: value}
        if head in values and rest is not None and value_at(below := _object(values[head]), rest) is not None:
            return {**values, head: msgspec.Raw(msgspec.json.encode(with_value(below, rest, value)))}
    return values


def field_at(fields: Any, name: str) -> list[Any]:
    """The Arrow fields on the path to a field of a schema or struct type; empty if there is no such field."""
    for head, rest in _splits(name):
        found = [field for field in fields if field.name == head]
        if len(found) != 1:
            continue
        if rest is None:
            return found
        if _is_struct(found[0].type) and (below := field_at(found[0].type, rest)):
            return [*found, *below]
    return []


def column_at(batch: Any, name: str) -> Any:
    """The array of a field in a record batch. It is null where an enclosing struct is null."""
    compute = import_arrow("Parquet", "compute")
    first, *others = field_at(batch.schema, name)
    column = batch.column(first.name)
    for field in others:
        column = compute.struct_field(column, field.name)
    return column


def dotted_names(fields: Any, above: str = "") -> Iterator[str]:
    """The names of all fields, including those in structs."""
    for field in fields:
        yield above + field.name
        if _is_struct(field.type):
            yield from dotted_names(field.type, f"{above}{field.name}.")


def _splits(name: str) -> Iterator[tuple[str, str | None]]:
    """The whole name, then its split at each dot, from the last dot to the first."""
    yield name, None
    at = name.rfind(".")
    while at >= 0:
        yield name[:at], name[at + 1 :]
        at = name.rfind(".", 0, at)


def _object(value: msgspec.Raw) -> Mapping[str, Any]:
    try:
        return OBJECT.decode(value)
    except msgspec.DecodeError:  # null, a list, a number
        return {}


def _is_struct(kind: Any) -> bool:
    return bool(import_arrow("Parquet").types.is_struct(kind))
