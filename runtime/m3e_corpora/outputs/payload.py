"""What is stored beside each vector: nothing, a JSON object, or typed columns."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from m3e_corpora.arrow import import_arrow
from m3e_corpora.inputs.column_types import JSON_MARK, misfit
from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.nested import with_value, without_value
from m3e_corpora.inputs.rows import CHUNK_COLUMNS, ChunkPlaces, ParsedRow, PayloadBuilder

__all__ = [
    "NoPayload",
    "Records",
    "TypedColumns",
    "payload_builder",
    "schema_from_text",
    "schema_to_text",
    "with_chunk_fields",
]


@dataclass(frozen=True)
class NoPayload:
    """Nothing is stored beside the vectors."""

    def take(self, indices: Sequence[int]) -> NoPayload:
        """Return nothing for any rows."""
        del indices
        return self

    def with_chunks(self, places: ChunkPlaces, field: str | None, texts: Sequence[str]) -> NoPayload:
        """Return nothing for the chunks of any rows."""
        del places, field, texts
        return self


@dataclass(frozen=True)
class Records:
    """A JSON object for each row."""

    objects: list[Mapping[str, Any]]

    def take(self, indices: Sequence[int]) -> Records:
        """Select the objects of some rows."""
        return Records([self.objects[index] for index in indices])

    def with_chunks(self, places: ChunkPlaces, field: str | None, texts: Sequence[str]) -> Records:
        """An object for each chunk, with its place; the text becomes that of the chunk."""
        whole = (self.objects[at] for at in places.rows)
        objects = [
            with_value(each, field, text) if field else each for each, text in zip(whole, texts, strict=True)
        ]
        numbers = zip(*places.columns.values(), strict=True)
        return Records(
            [
                {**each, **dict(zip(CHUNK_COLUMNS, its_own, strict=True))}
                for each, its_own in zip(objects, numbers, strict=True)
            ]
        )


@dataclass(frozen=True)
class TypedColumns:
    """A value in each column of an Arrow record batch for each row."""

    batch: Any

    def take(self, indices: Sequence[int]) -> TypedColumns:
        """Select the values of some rows."""
        return TypedColumns(self.batch.take(indices))

    def with_chunks(self, places: ChunkPlaces, field: str | None, texts: Sequence[str]) -> TypedColumns:
        """A row for each chunk, with columns for its place; the column of the texts has the chunks' texts.

        The whole texts are not taken for each of their chunks: that would be quadratic in their length.
        """
        arrow = import_arrow("Parquet")
        schema, rows = with_chunk_fields(self.batch.schema), arrow.array(places.rows, arrow.int64())
        columns = [
            arrow.array(texts, each.type) if each.name == field else column.take(rows)
            for each, column in zip(self.batch.schema, self.batch.columns, strict=True)
        ]
        added = [arrow.array(numbers, arrow.int64()) for numbers in places.columns.values()]
        return TypedColumns(arrow.record_batch([*columns, *added], schema=schema))


def with_chunk_fields(schema: Any) -> Any:
    """An Arrow schema with the fields that :meth:`TypedColumns.with_chunks` adds."""
    arrow = import_arrow("Parquet")
    for name in CHUNK_COLUMNS:
        schema = schema.append(arrow.field(name, arrow.int64()))
    return schema


def payload_builder(columns: Columns, schema: str | None) -> PayloadBuilder:
    """Return the builder for the form that ``columns`` names.

    Args:
        columns: the columns to keep.
        schema: Arrow schema of typed columns, from :func:`schema_to_text`; None for other forms.
    """
    if columns.form == "records":
        return _RecordsBuilder(columns)
    return _ColumnsBuilder(columns, schema_from_text(schema)) if schema else _NothingBuilder()


def schema_to_text(schema: Any) -> str:
    """Serialize an Arrow schema as text."""
    return base64.b64encode(schema.serialize()).decode("ascii")


def schema_from_text(schema: str) -> Any:
    """Restore the Arrow schema from :func:`schema_to_text`."""
    ipc = import_arrow("Parquet", "ipc")
    return ipc.read_schema(import_arrow("Parquet").py_buffer(base64.b64decode(schema)))


class _NothingBuilder:
    def from_rows(self, rows: Sequence[ParsedRow]) -> NoPayload:
        del rows
        return NoPayload()

    def from_record_batch(self, texts: Sequence[str], batch: Any) -> NoPayload:
        del texts, batch
        return NoPayload()


@dataclass(frozen=True)
class _RecordsBuilder:
    columns: Columns

    def from_rows(self, rows: Sequence[ParsedRow]) -> Records:
        return Records([self._object(row.text, row.values) for row in rows])

    def from_record_batch(self, texts: Sequence[str], batch: Any) -> Records:
        if not batch.num_columns:
            return Records([self._object(text, {}) for text in texts])
        rows = zip(texts, batch.to_pylist(), strict=True)
        return Records([self._object(text, values) for text, values in rows])

    def _object(self, text: str, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
        columns, values = self.columns, values or {}
        if columns.keep is None and values:  # a JSON object, which keeps its fields and their order
            return without_value(values, columns.field) if columns.drop_text else values
        fields = {} if columns.drop_text else {columns.field: text}
        return fields | {name: values.get(name) for name in columns.kept}


@dataclass(frozen=True)
class _ColumnsBuilder:
    columns: Columns
    schema: Any

    def from_rows(self, rows: Sequence[ParsedRow]) -> TypedColumns:
        arrow = import_arrow("Parquet")
        columns: list[list[Any]] = [[] for _ in self.schema]
        for row in rows:
            values = self._values(row)
            if row.problem is None:
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        arrays = [arrow.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return TypedColumns(arrow.record_batch(arrays, schema=self.schema))

    def from_record_batch(self, texts: Sequence[str], batch: Any) -> TypedColumns:
        arrow = import_arrow("Parquet")
        arrays = [
            arrow.array(texts, field.type) if field.name == self.columns.field else batch.column(field.name)
            for field in self.schema
        ]
        return TypedColumns(arrow.record_batch(arrays, schema=self.schema))

    def _values(self, row: ParsedRow) -> list[Any]:
        """The values of a row; the row gets a problem if one does not fit its column."""
        values: list[Any] = []
        for field in self.schema:
            if field.name == self.columns.field:
                values.append(row.text)
                continue
            value = (row.values or {}).get(field.name)
            if isinstance(value, msgspec.Raw):
                is_text = field.metadata and JSON_MARK in field.metadata
                value = bytes(value).decode() if is_text else msgspec.json.decode(value)
            row.problem = row.problem or misfit(value, field)
            values.append(value)
        return values
