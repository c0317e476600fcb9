"""Rows of long texts become rows of their chunks."""

from __future__ import annotations

from m3e_corpora.encoding.tokens import Model
from m3e_corpora.inputs.rows import ChunkPlaces, Rows
from m3e_corpora.job.job import Job
from m3e_runtime.chunking import Chunker
from m3e_runtime.errors import InvalidTextError, TextTooLongError

__all__ = ["RowChunker"]


class RowChunker:
    """Divides the texts of rows into chunks, which are rows of their own.

    Args:
        model: has the tokenizer.
        job: has the length of chunks, the prompt and the column of the texts.
    """

    def __init__(self, model: Model, job: Job) -> None:
        assert job.chunking is not None  # noqa: S101 - a job that divides texts has it
        self._chunker = Chunker(model.tokenizer, job.chunking)
        self._prompt = job.prompt
        self._field = None if job.columns.drop_text else job.columns.field

    def divide(self, rows: Rows) -> Rows:
        """Rows with a text, a number and a payload for each chunk.

        Raises:
            InvalidTextError: a character of a text has more tokens than a chunk.
        """
        places = self._places(rows)
        ranges = zip(places.rows, places.start, places.end, strict=True)
        texts = [rows.texts[at][start:end] for at, start, end in ranges]
        return Rows(
            texts,
            rows.prompts and [rows.prompts[at] for at in places.rows],
            rows.payload.take(places.rows).with_chunks(places, self._field, texts),
            [rows.numbers[at] for at in places.rows],
            rows.locate,
            rows.bad,
            rows.size,
            divided=len({at for at, chunk in zip(places.rows, places.chunk, strict=True) if chunk}),
        )

    def _places(self, rows: Rows) -> ChunkPlaces:
        prompts = self._prompt if rows.prompts is None else rows.prompts
        places = ChunkPlaces([], [], [], [])
        at = -1
        try:
            for at, chunks in enumerate(self._chunker.chunks_of_each(rows.texts, prompts)):
                places.rows.extend([at] * len(chunks))
                places.chunk.extend(range(len(chunks)))
                places.start.extend(chunk.start for chunk in chunks)
                places.end.extend(chunk.end for chunk in chunks)
        except TextTooLongError as error:
            raise InvalidTextError(f"{rows.locate(rows.numbers[at + 1], str(error))}") from error
        return places
