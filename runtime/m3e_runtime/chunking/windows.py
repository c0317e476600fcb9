"""Windows of late chunking: several chunks that the model reads at once, and where their tokens are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from m3e_runtime.chunking.chunker import Chunk
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["LateWindow", "WindowReader"]

_CONTEXT_SHARE = 4
"""Chunks before a window that fill up to this share of it are read again, as the context of the others."""

_FEW_PLACES = 8
"""So many places are found by the tokens of all that is before each of them."""

_TRIED = 3
"""Places on either side of the middle at which a text may be divided. In a text without spaces, some are
inside a token."""

_OVERLAP = 64
"""Characters after which a tokenizer gives the same tokens again: several times its longest token."""


class LateWindow(NamedTuple):
    """Chunks of a text that are read at once.

    Attributes:
        chunks: which chunks of the text get their vectors from this window.
        token_ids: int32 ``[length]``, special tokens and those of the prompt included.
        tokens: of each chunk, where its tokens begin and end.
    """

    chunks: range
    token_ids: TokenIds
    tokens: list[tuple[int, int]]


class WindowReader:
    """Makes windows of at most as many tokens as the model takes.

    A token belongs to the chunk in which it ends. As in the reference implementation of late chunking, the
    first chunk of a text has the special tokens before it, with those of a prompt that is pooled, and the
    last one those behind it.
    """

    def __init__(self, tokenizer: TextTokenizer, include_prompt: bool) -> None:
        self._tokenizer = tokenizer
        self._include_prompt = include_prompt
        self._before = _common(tokenizer.encode(""), tokenizer.encode("a"))
        self._behind = tokenizer.special_tokens - self._before

    def windows(self, text: str, prompt: str, chunks: list[Chunk]) -> Iterator[LateWindow]:
        """The windows of a text; each chunk is in one of them."""
        first = 0
        while first < len(chunks):
            begin = self._context(chunks, first, prompt)
            end = self._reach(chunks, begin, first, prompt)
            token_ids, fewer = self._read(text, prompt, chunks, begin, end), 1
            while token_ids is None:  # the tokens of chunks by themselves may be fewer
                if end > first + 1:
                    end = max(end - fewer, first + 1)
                else:
                    begin = min(begin + fewer, first)
                token_ids, fewer = self._read(text, prompt, chunks, begin, end), 2 * fewer
            yield self._window(text, prompt, chunks, begin, range(first, end), token_ids)
            first = end

    def _context(self, chunks: list[Chunk], first: int, prompt: str) -> int:
        """The first chunk of a window that gives vectors from ``first`` on."""
        beside = len(self._tokenizer.encode(prompt))
        room = (self._tokenizer.max_length - beside) // _CONTEXT_SHARE
        begin = first
        while begin and (room := room - (len(chunks[begin - 1].token_ids) - beside)) >= 0:
            begin -= 1
        return begin

    def _reach(self, chunks: list[Chunk], begin: int, first: int, prompt: str) -> int:
        """The chunk behind a window, by the numbers of tokens of its chunks."""
        beside = len(self._tokenizer.encode(prompt))
        room = self._tokenizer.max_length - beside
        end = begin
        while end < len(chunks) and (room := room - (len(chunks[end].token_ids) - beside)) >= 0:
            end += 1
        return max(end, first + 1)

    def _read(self, text: str, prompt: str, chunks: list[Chunk], begin: int, end: int) -> TokenIds | None:
        """The tokens of chunks, with what lies between them; None if they are too many."""
        whole = prompt + text[chunks[begin].start : chunks[end - 1].end]
        (token_ids,), (is_cut,) = self._tokenizer.encode_batch_marked([whole])
        return None if is_cut else token_ids

    def _window(
        self,
        text: str,
        prompt: str,
        chunks: list[Chunk],
        begin: int,
        own: range,
        token_ids: TokenIds,
    ) -> LateWindow:
        start, stop = chunks[begin].start, chunks[own[-1]].end
        places = sorted({place for at in own for place in (chunks[at].start, chunks[at].end)})
        whole, before = prompt + text[start:stop], len(prompt) - start
        last = len(token_ids) - self._behind
        found = self._borders(whole, token_ids[self._before : last], [before + place for place in places])
        borders = {place: self._before + tokens for place, tokens in zip(places, found, strict=True)}
        borders[stop] = last
        tokens = [self._tokens(borders, chunks[at], last) for at in own]
        if own.start == 0:
            skipped = 0 if self._include_prompt else self._tokenizer.prompt_length(prompt)
            tokens[0] = skipped, tokens[0][1]
        if own.stop == len(chunks):
            tokens[-1] = tokens[-1][0], len(token_ids)
        return LateWindow(own, token_ids, tokens)

    def _borders(self, text: str, token_ids: TokenIds, places: list[int]) -> list[int]:
        """How many tokens end at or before each place of a text, whose tokens without special ones are given.

        A text of many places is divided at one of them, where its parts have the same tokens by themselves:
        all that is before a place is not tokenized for each place, which would take quadratic time.
        """
        for index in _near_the_middle(len(places)):
            halves = self._halves(text, token_ids, places[index])
            if halves is not None:
                left, right, start, fewer = halves
                behind = [each - start for each in places[index + 1 :]]
                return [
                    *self._borders(text[: places[index]], left, places[:index]),
                    len(left),
                    *(fewer + each for each in self._borders(text[start:], right, behind)),
                ]
        return [_common(ids, token_ids) for ids in self._plain([text[:place] for place in places])]

    def _halves(
        self, text: str, token_ids: TokenIds, place: int
    ) -> tuple[TokenIds, TokenIds, int, int] | None:
        """The tokens before a place, and those behind it, if together they are the text's.

        What is behind it may have to be read with a little of what is before it, because a tokenizer marks
        the beginning of what it reads (the ``▁`` of Unigram) where there is no space.

        Returns:
            The tokens before the place, those of what is read behind it, where that begins, and how many
            tokens of the text are before the ones that both have. None: the text is not divided there.
        """
        (left,) = self._plain([text[:place]])
        shared = len(token_ids) - len(left)
        if shared < 0 or not np.array_equal(left, token_ids[: len(left)]):
            return None
        for start in (place, max(0, place - _OVERLAP)):
            (right,) = self._plain([text[start:]])
            extra = len(right) - shared
            if (extra == 0 or (extra > 0 and start < place)) and np.array_equal(
                right[extra:], token_ids[len(left) :]
            ):
                return left, right, start, len(left) - extra
        return None

    def _plain(self, texts: list[str]) -> list[TokenIds]:
        """The tokens of texts, without special ones."""
        token_ids, _ = self._tokenizer.encode_batch_marked(texts)
        return [ids[self._before : len(ids) - self._behind] for ids in token_ids]

    def _tokens(self, borders: dict[int, int], chunk: Chunk, last: int) -> tuple[int, int]:
        """Where the tokens of a chunk begin and end; it has at least one."""
        begin = min(borders[chunk.start], max(last - 1, 0))
        return begin, max(borders[chunk.end], begin + 1)


def _near_the_middle(count: int) -> list[int]:
    """Which of so many places may divide a text, those in the middle first; none if there are few."""
    middle = count // 2
    nearest = range(max(0, middle - _TRIED), min(count, middle + _TRIED + 1))
    return sorted(nearest, key=lambda at: abs(at - middle)) if count > _FEW_PLACES else []


def _common(a: TokenIds, b: TokenIds) -> int:
    """How many tokens at the beginning are the same."""
    length = min(len(a), len(b))
    differs = np.flatnonzero(a[:length] != b[:length])
    return int(differs[0]) if len(differs) else length
