"""Parquet: the kept columns, and the vector in the column ``embedding``, a list of fixed size, or scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from m3e_corpora.arrow import import_arrow
from m3e_corpora.inputs.rows import Payload
from m3e_corpora.outputs.others import NO_OTHERS, OTHERS, Others, arrow_type
from m3e_corpora.outputs.payload import TypedColumns, schema_from_text
from m3e_corpora.outputs.vectors import EMBEDDING, SCORE, SCORES, VectorSpec

__all__ = ["ParquetSink", "open_parquet"]

ROWS_PER_GROUP = 8192
BYTES_PER_GROUP = 128 << 20
"""About so much is held with multi-vectors, which are many times larger than vectors of texts."""


class ParquetSink:
    """See :class:`m3e_corpora.outputs.sinks.Sink`. The provenance goes into the metadata of the schema."""

    def __init__(
        self, stream: BinaryIO, vectors: VectorSpec, schema: str, provenance: Mapping[str, str]
    ) -> None:
        self._arrow = import_arrow("Parquet")
        self._vectors = vectors
        self._schema = self._complete(schema_from_text(schema), provenance)
        self._held: list[Any] = []
        self._rows = 0
        self._file = open_parquet(stream, self._schema)

    def write(self, payload: Payload, vectors: npt.NDArray[Any], others: Others = NO_OTHERS) -> None:
        """Append rows. Full row groups are written to the file."""
        assert isinstance(payload, TypedColumns)  # noqa: S101 - the form of this format
        dense = [self._column(vectors)] if self._vectors.dense else []
        columns = [*payload.batch.columns, *dense, *others.arrow_columns(self._arrow)]
        self._held.append(self._arrow.table(columns, schema=self._schema))
        self._rows += len(vectors)
        while self._rows >= ROWS_PER_GROUP:
            self._write_group(ROWS_PER_GROUP)
        if self._vectors.others and sum(table.nbytes for table in self._held) > BYTES_PER_GROUP:
            self._write_group(self._rows)

    def _column(self, vectors: npt.NDArray[Any]) -> Any:
        values = self._arrow.array(np.ascontiguousarray(vectors).reshape(-1))
        if self._vectors.is_number:
            return values
        return self._arrow.FixedSizeListArray.from_arrays(values, self._vectors.length)

    def close(self) -> None:
        """Write the last row group and the footer."""
        try:
            if self._rows:
                self._write_group(self._rows)
        finally:
            self._file.close()

    def _complete(self, schema: Any, provenance: Mapping[str, str]) -> Any:
        values = self._arrow.from_numpy_dtype(self._vectors.dtype)
        kind = values if self._vectors.is_number else self._arrow.list_(values, self._vectors.length)
        field = self._arrow.field(self._vectors.column, kind)
        metadata = {f"m3e.{name}": value for name, value in provenance.items()}
        if self._vectors.dense:
            schema = schema.append(field)
        for name in self._vectors.others:
            schema = schema.append(self._arrow.field(name, arrow_type(self._arrow, name)))
        return schema.with_metadata(metadata)

    def _write_group(self, rows: int) -> None:
        table = self._arrow.concat_tables(self._held)
        self._file.write_table(table.slice(0, rows), row_group_size=rows)
        self._held = [table.slice(rows)]
        self._rows -= rows


def open_parquet(stream: BinaryIO, schema: Any) -> Any:
    """Open a ``pyarrow.parquet.ParquetWriter`` for vectors."""
    outputs = (EMBEDDING, SCORE, SCORES, *OTHERS)
    columns = [name for name in schema.names if name not in outputs]
    return import_arrow("Parquet", "parquet").ParquetWriter(
        stream,
        schema,
        # Vectors have few repeated values: a dictionary would be built and discarded, and compression would
        # take longer than writing.
        use_dictionary=columns,
        compression={name: "snappy" if name in columns else "none" for name in schema.names},
    )
