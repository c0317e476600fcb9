"""Parquet, read page by page through pyarrow, so that large row groups need little memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from m3e_corpora.arrow import import_arrow
from m3e_corpora.errors import UnreadableInputError
from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile, open_input
from m3e_corpora.inputs.folder_columns import folder_field, folder_values
from m3e_corpora.inputs.formats.columns import check_columns
from m3e_corpora.inputs.formats.lines import TOO_LONG
from m3e_corpora.inputs.nested import column_at, dotted_names, field_at
from m3e_corpora.inputs.rows import READ_BYTES, READ_ROWS, ROW_LIMIT, BadRow, PayloadBuilder, Rows
from m3e_corpora.inputs.slice import Slice
from m3e_runtime.errors import OptionError

__all__ = ["ParquetFormat"]

_PAGES = 1 << 20
"""Bytes of a column that are read at a time. By default pyarrow reads a column of a whole row group."""


class ParquetFormat:
    """See :class:`m3e_corpora.inputs.formats.Format`."""

    declares_types = True

    def fields(self, file: InputFile, columns: Columns) -> list[Any]:
        """Return the fields that the file declares."""
        with _opened(file) as parquet:
            _check_texts(parquet.schema_arrow, file, columns)
            return [_field(parquet.schema_arrow, name, columns) for name in columns.kept]

    def slices(self, index: int, file: InputFile, columns: Columns, slice_bytes: int) -> Iterator[Slice]:
        """Cut the file into row ranges. None crosses a row group."""
        with _opened(file) as parquet:
            _check_texts(parquet.schema_arrow, file, columns)
            groups = [
                _size_of_group(parquet, number, columns.field) for number in range(parquet.num_row_groups)
            ]
        start = 0
        for rows, size in groups or [(0, 0)]:
            count = max(1, min(rows, -(-size // slice_bytes)))
            bounds = [start + rows * number // count for number in range(count + 1)]
            for first, stop in itertools.pairwise(bounds):
                yield Slice(index, first, stop, size // count)
            start += rows

    def read(
        self, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
    ) -> Iterator[Rows]:
        """Read the rows of a slice."""
        with _opened(file) as parquet:
            _check_texts(parquet.schema_arrow, file, columns)
            at = slice_.start
            for batch in _batches(parquet, slice_, columns):
                yield _rows(batch, at, file, slice_, columns, builder)
                at += batch.num_rows


@contextmanager
def _opened(file: InputFile) -> Iterator[Any]:
    if file.path == STANDARD_INPUT:
        raise OptionError("Parquet cannot be read from standard input; name a file.")
    parquet = import_arrow(f"{file.name}: Parquet", "parquet")
    arrow = import_arrow(f"{file.name}: Parquet")
    with open_input(file) as stream:
        try:
            yield parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_PAGES)
        except (arrow.ArrowException, OSError) as error:
            said = str(error).splitlines()[0].rstrip(".")
            raise UnreadableInputError(f"{file.name}: not valid Parquet ({said}).") from error


def _check_texts(schema: Any, file: InputFile, columns: Columns) -> None:
    check_columns(schema.names, file, columns, list(dotted_names(schema)))
    for name in columns.texts:
        found = field_at(schema, name)[-1].type
        if not _holds_text(found):
            raise UnreadableInputError(
                f"{file.name}: column {name!r} holds {found}, not texts; {columns.remedy(name)}"
            )


def _field(schema: Any, name: str, columns: Columns) -> Any:
    """The field of a column to keep. A nested field gets its full name, and is nullable if its struct is."""
    path = field_at(schema, name)
    if not path:
        return folder_field(name, columns.folder_types)
    nullable = any(field.nullable for field in path)
    return path[-1].with_name(name).with_nullable(nullable)


def _holds_text(found: Any) -> bool:
    types = import_arrow("Parquet").types
    if types.is_dictionary(found):
        found = found.value_type
    tests = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_null)
    return any(test(found) for test in tests)


def _size_of_group(parquet: Any, number: int, field: str) -> tuple[int, int]:
    """Return the number of rows in a row group and the bytes of its texts."""
    group = parquet.metadata.row_group(number)
    chunks = (group.column(index) for index in range(group.num_columns))
    return group.num_rows, sum(c.total_uncompressed_size for c in chunks if c.path_in_schema == field)


def _batches(parquet: Any, slice_: Slice, columns: Columns) -> Iterator[Any]:
    """Read the rows of a slice as record batches."""
    assert slice_.stop is not None  # noqa: S101 - a Parquet file knows its rows
    groups, first = _groups(parquet, slice_.start, slice_.stop)
    rows = max(1, slice_.stop - slice_.start)
    per_row = max(1, slice_.size // rows)
    at = first
    for batch in parquet.iter_batches(
        batch_size=max(1, min(READ_ROWS, READ_BYTES // per_row)),
        row_groups=groups,
        columns=[name for name in columns.read if field_at(parquet.schema_arrow, name)],
        use_threads=False,
    ):
        start, stop = max(slice_.start - at, 0), min(slice_.stop - at, batch.num_rows)
        at += batch.num_rows
        if start < stop:
            yield batch.slice(start, stop - start)


def _groups(parquet: Any, start: int, stop: int) -> tuple[list[int], int]:
    """Return the row groups that contain any of the rows, and the number of their first row."""
    groups: list[int] = []
    first, end = 0, 0
    for number in range(parquet.num_row_groups):
        begin, end = end, end + parquet.metadata.row_group(number).num_rows
        if begin < stop and end > start:
            first = first if groups else begin
            groups.append(number)
    return groups, first


def _rows(
    batch: Any, at: int, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
) -> Rows:
    def locate(number: int, problem: str) -> BadRow:
        return BadRow(file.name, f"row {number}", problem)

    texts, problems = _texts(column_at(batch, columns.field), columns.field)
    prompts: list[str] | None = None
    if columns.prompt_field is not None:
        prompts, without = _texts(column_at(batch, columns.prompt_field), columns.prompt_field)
        problems = without | problems
    good = [index for index, text in enumerate(texts) if index not in problems]
    kept = _kept(batch, file, columns)
    if problems:
        kept = kept.take(good)
    rows = max(1, (slice_.stop or 0) - slice_.start)
    good_texts = [texts[index] for index in good]
    return Rows(
        good_texts,
        prompts and [prompts[index] for index in good],
        builder.from_record_batch(good_texts, kept),
        [at + index + 1 for index in good],
        locate,
        [locate(at + index + 1, problem) for index, problem in sorted(problems.items())],
        slice_.size * batch.num_rows // rows,
    )


def _kept(batch: Any, file: InputFile, columns: Columns) -> Any:
    """The columns to keep as a record batch. A column that only folders name repeats one value."""
    arrow = import_arrow("Parquet")
    if not columns.kept:
        return batch.select([])
    folders = folder_values(file, columns.folder_types)
    fields, arrays = [], []
    for name in columns.kept:
        field = _field(batch.schema, name, columns)
        fields.append(field)
        if field_at(batch.schema, name):
            arrays.append(column_at(batch, name))
        else:
            arrays.append(arrow.repeat(arrow.scalar(folders[name], field.type), batch.num_rows))
    return arrow.record_batch(arrays, schema=arrow.schema(fields))


def _texts(column: Any, name: str) -> tuple[list[str], dict[int, str]]:
    """Return the texts, and the problems of the rows that have none."""
    arrow = import_arrow("Parquet")
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = column.cast(arrow.large_binary()).to_pylist()
    texts, problems = [], {}
    for index, value in enumerate(values):
        text, problem = _text(value)
        texts.append(text)
        if problem is not None:
            problems[index] = f"column {name!r} is {problem}"
    return texts, problems


def _text(value: bytes | None) -> tuple[str, str | None]:
    if value is None:
        return "", "null."
    if len(value) > ROW_LIMIT:
        return "", TOO_LONG
    try:
        return value.decode("utf-8"), None
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 ({error.reason} at byte {error.start + 1})."
