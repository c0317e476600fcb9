"""From parsed rows to chunks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.rows import CHUNK_BYTES, CHUNK_ROWS, BadRow, Beside, ParsedRow, Rows

__all__ = ["into_chunks"]


def into_chunks(
    parsed: Iterable[ParsedRow],
    start: int,
    reading: Reading,
    beside: Beside,
    locate: Callable[[int, str], BadRow],
) -> Iterator[Rows]:
    """Gather rows of a file from byte ``start`` on into chunks of limited size."""
    held: list[ParsedRow] = []
    for row in parsed:
        held.append(row)
        if len(held) == CHUNK_ROWS or row.end - start >= CHUNK_BYTES:
            yield _chunk(held, start, reading, beside, locate)
            held, start = [], row.end
    if held:
        yield _chunk(held, start, reading, beside, locate)


def _chunk(
    parsed: list[ParsedRow],
    start: int,
    reading: Reading,
    beside: Beside,
    locate: Callable[[int, str], BadRow],
) -> Rows:
    stored = beside.of_rows([row for row in parsed if row.problem is None])
    good = [row for row in parsed if row.problem is None]
    bad = [locate(row.number, row.problem) for row in parsed if row.problem is not None]
    size = parsed[-1].end - start
    texts, numbers = [row.text for row in good], [row.number for row in good]
    prompts = None if reading.prompt_field is None else [row.prompt for row in good]
    return Rows(texts, prompts, stored, numbers, locate, bad, size)
