"""Windows: rows that are tokenized and sorted together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3e_corpora.encoding.tokens import Model, Text, longest_text, prompt_lengths, texts_of, tokenize
from m3e_corpora.inputs.rows import BadRow, Rows
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.policies import OnError, OverLong
from m3e_runtime.errors import InvalidTextError
from m3e_runtime.late_interaction import Task
from m3e_runtime.tokenization import TokenIds

__all__ = ["TokenizedBatch", "Window", "windows_of"]

WINDOW_ROWS = 8192
WINDOW_TOKENS = 1 << 19
PACKED_WINDOW_TOKENS = 1 << 17  # without padding, more sorting gains nothing and costs memory
WINDOW_BYTES = 16 << 20
"""Limits of a window: at most this many rows, and about this many tokens and bytes."""

PACKED_BATCH_TOKENS = 4096
"""Token budget of a packed batch. It is small, so that all threads finish at almost the same time."""

_SKIP_BAD = "Use --on-error skip to leave out such rows and list them."
_SKIP_LONG = "Use --over-long skip to leave out such rows and list them, or --over-long truncate."


class TokenizedBatch(NamedTuple):
    """A batch of a window.

    Attributes:
        indices: positions of the texts among the window's distinct texts, int64 ``[n]``.
        token_ids: the tokens of each text.
        prompt_lengths: as :meth:`m3e_runtime.Encoder.run` takes them.
        token_types: as :meth:`m3e_runtime.Reranker.run` takes them.
    """

    indices: npt.NDArray[np.int64]
    token_ids: list[TokenIds]
    prompt_lengths: list[int] | None
    token_types: list[TokenIds] | None = None


@dataclass(frozen=True)
class Window:
    """Tokenized rows of one partition.

    Attributes:
        partition: number of the partition.
        rows: the rows.
        places: position of each row's text among the distinct texts, int64 ``[rows]``.
        distinct: number of distinct texts.
        batches: the texts to compute.
        counts: how the rows are processed.
        last: whether this is the last window of the partition.
    """

    partition: int
    rows: list[Rows]
    places: npt.NDArray[np.int64]
    distinct: int
    batches: list[TokenizedBatch]
    counts: Counts
    last: bool

    @property
    def bad(self) -> list[BadRow]:
        """Rows that are left out."""
        return [row for rows in self.rows for row in rows.bad]

    @property
    def size(self) -> int:
        """Bytes of the input."""
        return sum(rows.size for rows in self.rows)


def windows_of(
    encoder: Model,
    partition: int,
    rows: Iterable[Rows],
    prefix: str,
    over_long: OverLong,
    on_error: OnError,
    most_tokens: int | None = None,
    task: Task | None = None,
) -> Iterator[Window]:
    """Tokenize the rows of a partition.

    Args:
        encoder: has the tokenizer and plans the batches.
        partition: number of the partition.
        rows: rows of the partition.
        prefix: prompt before each text that has none of its own.
        over_long: what to do with texts that are too long.
        on_error: what to do with rows that cannot be encoded.
        most_tokens: about how many tokens a window may have, by default as many as suit the engine.
        task: what the texts are, for models that encode queries and documents differently.

    Yields:
        Windows, at least one. Only the last one is marked as such.

    Raises:
        InvalidTextError: a row cannot be encoded or is too long, and the policy is ``fail``.
    """
    window = _OpenWindow(encoder, prefix, over_long, most_tokens, task)
    for each in rows:
        if each.bad and on_error == "fail":
            raise InvalidTextError(f"{each.bad[0]} {_SKIP_BAD}")
        if window.is_full(len(each.texts)):
            yield window.close(partition, last=False)
            window = _OpenWindow(encoder, prefix, over_long, most_tokens, task)
        window.add(each)
    yield window.close(partition, last=True)


@dataclass
class _OpenWindow:
    encoder: Model
    prefix: str
    over_long: OverLong
    most_tokens: int | None = None
    task: Task | None = None
    rows: list[Rows] = field(default_factory=list)
    token_ids: list[TokenIds] = field(default_factory=list)
    token_types: list[TokenIds] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    tokens: int = 0
    size: int = 0
    _known: dict[Text, int] = field(default_factory=dict)
    _places: list[int] = field(default_factory=list)
    _prompt_lengths: list[int] | None = None

    def is_full(self, more: int) -> bool:
        rows = len(self._places)
        return (rows > 0 and rows + more > WINDOW_ROWS) or (
            self.tokens >= (self.most_tokens or self._suitable_tokens) or self.size >= WINDOW_BYTES
        )

    @property
    def _suitable_tokens(self) -> int:
        return WINDOW_TOKENS if self.encoder.pads else PACKED_WINDOW_TOKENS

    def add(self, rows: Rows) -> None:
        texts = texts_of(self.encoder, rows, self.prefix)
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if rows.token_ids is None:
            self._add(fresh, *tokenize(self.encoder, fresh, self.task))
        else:
            known = dict(zip(texts, rows.token_ids, strict=True))
            self._add(fresh, [known[text] for text in fresh], None, [False] * len(fresh))
        places = [self._known[text] for text in texts]
        if self.over_long in ("skip", "fail"):
            cut = [index for index, place in enumerate(places) if self.cut[place]]
            if cut:
                rows = self._leave_out(rows, cut)
                places = [place for place in places if not self.cut[place]]
        self.rows.append(rows)
        self.size += rows.size
        self._places += places

    def _leave_out(self, rows: Rows, cut: list[int]) -> Rows:
        problem = f"longer than {longest_text(self.encoder, self.task)} tokens."
        if self.over_long == "fail":
            raise InvalidTextError(f"{rows.locate(rows.numbers[cut[0]], problem)} {_SKIP_LONG}")
        return rows.without(cut, problem)

    def close(self, partition: int, last: bool) -> Window:
        places = np.array(self._places, dtype=np.int64)
        self._prompt_lengths = prompt_lengths(self.encoder, list(self._known))
        batches, computed = self._plan(np.unique(places))
        counts = Counts(
            texts=len(places),
            duplicates=len(places) - sum(len(batch.indices) for batch in batches),
            truncated=sum(self.cut[place] for place in self._places),
            skipped=sum(len(rows.bad) for rows in self.rows),
            tokens=sum(len(ids) for batch in batches for ids in batch.token_ids),
            computed_tokens=computed,
            divided=sum(rows.divided for rows in self.rows),
        )
        return Window(partition, self.rows, places, len(self.token_ids), batches, counts, last)

    def _add(
        self, fresh: list[Text], token_ids: list[TokenIds], types: list[TokenIds] | None, cut: list[bool]
    ) -> None:
        self._known.update(zip(fresh, itertools.count(len(self.token_ids)), strict=False))
        self.token_ids += token_ids
        self.token_types += types or []
        self.cut += cut
        self.tokens += sum(map(len, token_ids))

    def _plan(self, wanted: npt.NDArray[np.int64]) -> tuple[list[TokenizedBatch], int]:
        """Plan batches for the wanted distinct texts; return them and the number of tokens they compute."""
        lengths = np.array([len(self.token_ids[index]) for index in wanted], dtype=np.int64)
        planned = list(
            self.encoder.plan(lengths, token_budget=None if self.encoder.pads else PACKED_BATCH_TOKENS)
        )
        batches = [self._batch(wanted[batch.indices]) for batch in planned]
        return batches, sum(batch.tokens for batch in planned)

    def _batch(self, indices: npt.NDArray[np.int64]) -> TokenizedBatch:
        return TokenizedBatch(
            indices,
            [self.token_ids[index] for index in indices],
            self._prompt_lengths and [self._prompt_lengths[index] for index in indices],
            [self.token_types[index] for index in indices] if self.token_types else None,
        )
