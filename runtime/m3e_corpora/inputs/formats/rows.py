"""Grouping of parsed rows, so that a limited amount is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.rows import READ_BYTES, READ_ROWS, BadRow, ParsedRow, PayloadBuilder, Rows

__all__ = ["group_rows"]


def group_rows(
    parsed: Iterable[ParsedRow],
    start: int,
    columns: Columns,
    builder: PayloadBuilder,
    locate: Callable[[int, str], BadRow],
) -> Iterator[Rows]:
    """Group the rows of a file, from byte ``start`` on, up to the limits of one read."""
    held: list[ParsedRow] = []
    for row in parsed:
        held.append(row)
        if len(held) == READ_ROWS or row.end - start >= READ_BYTES:
            yield _rows(held, start, columns, builder, locate)
            held, start = [], row.end
    if held:
        yield _rows(held, start, columns, builder, locate)


def _rows(
    parsed: list[ParsedRow],
    start: int,
    columns: Columns,
    builder: PayloadBuilder,
    locate: Callable[[int, str], BadRow],
) -> Rows:
    payload = builder.from_rows([row for row in parsed if row.problem is None])
    good = [row for row in parsed if row.problem is None]
    bad = [locate(row.number, row.problem) for row in parsed if row.problem is not None]
    size = parsed[-1].end - start
    texts, numbers = [row.text for row in good], [row.number for row in good]
    prompts = None if columns.prompt_field is None else [row.prompt for row in good]
    return Rows(texts, prompts, payload, numbers, locate, bad, size)
