"""Rows of long texts become rows of their chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from m3e_corpora.inputs.rows import BadRow, ChunkPlaces, Rows
from m3e_corpora.job.job import Job
from m3e_runtime.chunking import Chunk, ChunkTokenizer, LateWindow
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError, TextTooLongError
from m3e_runtime.tokenization import TokenIds

__all__ = ["RowChunker"]

_TOGETHER = 1 << 16
"""Characters of texts that are divided together. The engine begins when the first window is full."""


class RowChunker:
    """Divides the texts of rows into chunks, which are rows of their own.

    Args:
        encoder: has the tokenizer.
        job: has the length of chunks, the prompt and the column of the texts.
    """

    def __init__(self, encoder: Encoder, job: Job) -> None:
        assert job.chunking is not None  # noqa: S101 - a job that divides texts has it
        self._tokenizer = ChunkTokenizer(encoder, job.chunking)
        self._late = job.chunking.late
        self._prompt = job.prompt
        self._field = None if job.columns.drop_text else job.columns.field

    def divide(self, rows: Rows) -> Iterator[Rows]:
        """Rows with a text, a number and a payload for each chunk, some rows of the input at a time.

        A row is bad if a character of its text has more tokens than a chunk, or if its own prompt leaves no
        room for text.
        """
        bad, size = rows.bad, rows.size  # of all rows: the first of these have them
        for start, stop in _parts(rows.texts):
            yield self._divide(rows, start, stop, bad, size)
            bad, size = [], 0

    def _divide(self, rows: Rows, first: int, stop: int, bad: Sequence[BadRow], size: int) -> Rows:
        refused: list[BadRow] = []
        places, token_ids, windows = self._chunks(rows, first, stop, refused)
        ranges = zip(places.rows, places.start, places.end, strict=True)
        texts = [rows.texts[at][start:end] for at, start, end in ranges]
        return Rows(
            texts,
            rows.prompts and [rows.prompts[at] for at in places.rows],
            rows.payload.with_chunks(places, self._field, texts),
            [rows.numbers[at] for at in places.rows],
            rows.locate,
            [*bad, *refused],
            size,
            token_ids=token_ids,
            windows=windows if self._late else None,
            divided=len({at for at, chunk in zip(places.rows, places.chunk, strict=True) if chunk}),
        )

    def _chunks(
        self, rows: Rows, first: int, stop: int, refused: list[BadRow]
    ) -> tuple[ChunkPlaces, list[TokenIds], list[LateWindow]]:
        """Where the chunks of some rows are, their tokens, and the windows of late chunking."""
        token_ids: list[TokenIds] = []
        windows: list[LateWindow] = []
        places = ChunkPlaces([], [], [], [])
        for at, chunks, read in self._chunks_of_each(rows, first, stop, refused):
            places.rows.extend([at] * len(chunks))
            places.chunk.extend(range(len(chunks)))
            places.start.extend(chunk.start for chunk in chunks)
            places.end.extend(chunk.end for chunk in chunks)
            token_ids.extend(chunk.token_ids for chunk in chunks)
            windows += read
        return places, token_ids, windows

    def _chunks_of_each(
        self, rows: Rows, first: int, stop: int, refused: list[BadRow]
    ) -> list[tuple[int, list[Chunk], list[LateWindow]]]:
        """The place, the chunks and the windows of each row. Rows that cannot be divided are ``refused``."""
        prompts = self._prompt if rows.prompts is None else rows.prompts[first:stop]
        try:
            found = self._tokenizer.each(rows.texts[first:stop], prompts)
            return [(at, chunks, read) for at, (chunks, read) in enumerate(found, first)]
        except (TextTooLongError, OptionError) as error:
            if isinstance(error, OptionError) and rows.prompts is None:
                raise  # it is the same for all rows
            if stop - first > 1:  # one of them is to blame
                each = (self._chunks_of_each(rows, at, at + 1, refused) for at in range(first, stop))
                return list(chain.from_iterable(each))
            problem = str(error.__cause__ or error)  # without the number of the text, which is 0
            refused.append(rows.locate(rows.numbers[first], problem))
            return []


def _parts(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where texts of about :data:`_TOGETHER` characters begin and end; at least one part."""
    start = characters = 0
    for stop, text in enumerate(texts):
        if characters >= _TOGETHER:
            yield start, stop
            start, characters = stop, 0
        characters += len(text)
    yield start, len(texts)
