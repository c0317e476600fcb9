"""What is stored beside each vector: nothing, a JSON object, or typed columns."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from m3e_corpora.arrow import import_arrow
from m3e_corpora.inputs.column_types import JSON_MARK, misfit
from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.nested import without_value
from m3e_corpora.inputs.rows import Beside, ParsedRow

__all__ = ["make_beside", "pack_schema", "unpack_schema"]


def make_beside(reading: Reading, schema: str | None) -> Beside:
    """The kind that ``reading`` asks for; ``schema`` is the one of typed columns, packed."""
    if reading.form == "records":
        return _Records(reading)
    return _Columns(reading, unpack_schema(schema)) if schema else _Nothing()


def pack_schema(schema: Any) -> str:
    """An Arrow schema as text."""
    return base64.b64encode(schema.serialize()).decode("ascii")


def unpack_schema(schema: str) -> Any:
    """The Arrow schema that :func:`pack_schema` packed."""
    ipc = import_arrow("Parquet", "ipc")
    return ipc.read_schema(import_arrow("Parquet").py_buffer(base64.b64decode(schema)))


class _Nothing:
    def of_rows(self, rows: Sequence[ParsedRow]) -> None:
        del rows

    def of_batch(self, texts: Sequence[str], batch: Any) -> None:
        del texts, batch


@dataclass(frozen=True)
class _Records:
    reading: Reading

    def of_rows(self, rows: Sequence[ParsedRow]) -> list[Mapping[str, Any]]:
        return [self._record(row.text, row.values) for row in rows]

    def of_batch(self, texts: Sequence[str], batch: Any) -> list[Mapping[str, Any]]:
        if not batch.num_columns:
            return [self._record(text, {}) for text in texts]
        return [self._record(text, values) for text, values in zip(texts, batch.to_pylist(), strict=True)]

    def _record(self, text: str, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
        reading, values = self.reading, values or {}
        if reading.keep is None and values:  # an object, whose order is kept
            return without_value(values, reading.field) if reading.drop_text else values
        record = {} if reading.drop_text else {reading.field: text}
        return record | {name: values.get(name) for name in reading.columns}


@dataclass(frozen=True)
class _Columns:
    reading: Reading
    schema: Any

    def of_rows(self, rows: Sequence[ParsedRow]) -> Any:
        arrow = import_arrow("Parquet")
        columns: list[list[Any]] = [[] for _ in self.schema]
        for row in rows:
            values = self._values(row)
            if row.problem is None:
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        arrays = [arrow.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return arrow.record_batch(arrays, schema=self.schema)

    def of_batch(self, texts: Sequence[str], batch: Any) -> Any:
        arrow = import_arrow("Parquet")
        arrays = [
            arrow.array(texts, field.type) if field.name == self.reading.field else batch.column(field.name)
            for field in self.schema
        ]
        return arrow.record_batch(arrays, schema=self.schema)

    def _values(self, row: ParsedRow) -> list[Any]:
        values: list[Any] = []
        for field in self.schema:
            if field.name == self.reading.field:
                values.append(row.text)
                continue
            value = (row.values or {}).get(field.name)
            if isinstance(value, msgspec.Raw):
                is_text = field.metadata and JSON_MARK in field.metadata
                value = bytes(value).decode() if is_text else msgspec.json.decode(value)
            row.problem = row.problem or misfit(value, field)
            values.append(value)
        return values
