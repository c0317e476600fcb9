"""Divides texts into chunks that a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from m3e_runtime.chunking.options import ChunkOptions, check_chunk_options
from m3e_runtime.chunking.sentences import Range, halves
from m3e_runtime.chunking.spans import spans, trimmed
from m3e_runtime.chunking.units import UnitReader
from m3e_runtime.errors import BatchTooLargeError, TextTooLongError
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["Chunk", "Chunker"]

_TOGETHER = 64
"""Chunks that are tokenized together."""


class Chunk(NamedTuple):
    """A chunk of a text.

    Attributes:
        start: where it begins in the text, in characters.
        end: where it ends: the chunk is ``text[start:end]``.
        token_ids: its tokens, with special ones and those of the prompt, int32 ``[length]``.
    """

    start: int
    end: int
    token_ids: TokenIds


class Chunker:
    """Divides texts into chunks. Several threads can share it.

    A text that fits is one chunk, with the white space around it. Longer ones are divided at ends of
    sentences and lines, and a sentence that is longer than a chunk behind a clause, a word or a character, in
    this order. The chunks of a text are in its order, and cover all of it except white space. A grapheme
    cluster is divided, between code points, only where it alone is longer than a chunk. Time is linear in the
    length of the text.

    Args:
        tokenizer: the tokenizer of the model.
        options: the length of chunks.

    Raises:
        OptionError: chunks that are longer than the model takes, or without room for text, or an overlap out
            of range.
    """

    def __init__(self, tokenizer: TextTokenizer, options: ChunkOptions) -> None:
        self.limit = check_chunk_options(options).limit(tokenizer.max_length)
        options.room(self.limit, tokenizer.special_tokens)  # not only when the first long text comes
        self._options = options
        self._tokenizer = tokenizer.limited(self.limit)

    def chunks_of_each(
        self,
        texts: Sequence[str],
        prompts: str | Sequence[str] = "",
        first: int = 0,
        most: int | None = None,
    ) -> Iterator[list[Chunk]]:
        """The chunks of each text, at least one.

        Args:
            texts: the texts, without prompt.
            prompts: a prompt that is put before each chunk, or one for the chunks of each text.
            first: the number of the first text, for error messages.
            most: most chunks of all texts together. Texts with more are not divided to their ends.

        Raises:
            InvalidTextError: a text is not a string, or has a lone surrogate.
            TextTooLongError: a character has more tokens than a chunk.
            BatchTooLargeError: there are more chunks than ``most``.
            OptionError: a prompt leaves no room for text.
        """
        count = 0
        each = [prompts] * len(texts) if isinstance(prompts, str) else prompts
        whole = [prompt + text for prompt, text in zip(each, texts, strict=True)] if any(each) else texts
        found = zip(*self._tokenizer.encode_batch_marked(whole), texts, each, strict=True)
        for index, (token_ids, cut, text, prompt) in enumerate(found):
            room = None if most is None else most - count + 1
            chunks = (
                self._named(first + index, text, prompt, room) if cut else [Chunk(0, len(text), token_ids)]
            )
            count += len(chunks)
            if most is not None and count > most:
                raise BatchTooLargeError(
                    f"the texts up to text {first + index} have more than {most} chunks of {self.limit} "
                    "tokens; send fewer texts at a time, or make chunks longer."
                )
            yield chunks

    def room(self, prompt: str) -> int:
        """Tokens of text in a chunk with this prompt.

        Raises:
            OptionError: there is no room, or the overlap is more than half of it.
        """
        return self._options.room(self.limit, len(self._tokenizer.encode(prompt)))

    def long_text(self, text: str, prompt: str = "") -> Iterator[Chunk]:
        """The chunks of a text that does not fit, one after the other.

        Raises:
            TextTooLongError: as :meth:`chunks_of_each`.
            OptionError: as :meth:`chunks_of_each`.
        """
        room = self.room(prompt)
        reader = UnitReader(self._tokenizer, room, self._options.overlap)
        ranges = spans(text, reader, room, self._options.overlap)
        start = end = -1
        while some := list(islice(ranges, _TOGETHER)):
            for chunk in self._tokenized(text, prompt, some):
                for each in self._behind(text, prompt, chunk, start, end):
                    start, end = each.start, each.end
                    yield each

    def _named(self, index: int, text: str, prompt: str, most: int | None) -> list[Chunk]:
        """The chunks of a text that does not fit, up to a number of them. An error names the text."""
        try:
            chunks = list(islice(self.long_text(text, prompt), most))
        except TextTooLongError as error:
            raise TextTooLongError(f"text {index}: {error}") from error
        return chunks or [Chunk(0, 0, self._tokenizer.encode(prompt))]

    def _behind(self, text: str, prompt: str, chunk: Chunk, start: int, end: int) -> Iterator[Chunk]:
        """The chunk, or what of it is new, behind one that was divided: overlaps are made before that."""
        if chunk.start > start and chunk.end > end:
            yield chunk
        elif chunk.end > end:
            yield from self._tokenized(text, prompt, [trimmed(text, end, chunk.end)])

    def _tokenized(self, text: str, prompt: str, ranges: list[Range]) -> Iterator[Chunk]:
        """Chunks from ranges. A range with more tokens than its units have by themselves is divided."""
        ids, cut = self._tokenizer.encode_batch_marked([prompt + text[start:stop] for start, stop in ranges])
        for (start, stop), token_ids, is_cut in zip(ranges, ids, cut, strict=True):
            if not is_cut:
                yield Chunk(start, stop, token_ids)
            elif stop - start == 1:
                raise TextTooLongError(
                    f"the character at {start} has more tokens than a chunk; make chunks longer."
                )
            else:
                parts = [trimmed(text, *half) for half in halves(text, start, stop)]
                yield from self._tokenized(text, prompt, [part for part in parts if part[0] < part[1]])
