"""A window that is being filled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3e_corpora.encoding.tokens import Model, Text, longest_text, prompt_lengths, texts_of, tokenize
from m3e_corpora.encoding.window import TokenizedBatch, Window
from m3e_corpora.inputs.rows import Rows
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.policies import OverLong
from m3e_runtime.errors import InvalidTextError
from m3e_runtime.late_interaction import Task
from m3e_runtime.planning import Batch
from m3e_runtime.tokenization import TokenIds

__all__ = ["OpenWindow"]

WINDOW_ROWS = 8192
WINDOW_TOKENS = 1 << 19
PACKED_WINDOW_TOKENS = 1 << 17  # without padding, more sorting gains nothing and costs memory
WINDOW_BYTES = 16 << 20
"""Limits of a window: at most this many rows, and about this many tokens and bytes."""

PACKED_BATCH_TOKENS = 4096
"""Token budget of a packed batch. It is small, so that all threads finish at almost the same time."""

_SKIP_LONG = "Use --over-long skip to leave out such rows and list them, or --over-long truncate."


@dataclass
class OpenWindow:
    """Rows and their tokens, until there are enough of them for a window.

    Attributes:
        encoder: has the tokenizer and plans the batches.
        prefix: prompt before each text that has none of its own.
        over_long: what to do with texts that are too long.
        most_tokens: about how many tokens the window may have, by default as many as suit the engine.
        task: what the texts are, for models that encode queries and documents differently.
        rows: the rows so far.
        token_ids: the tokens of each distinct text.
        token_types: the types of these tokens, if the model takes them.
        cut: whether a text was cut, for each distinct vector.
        tokens: the number of all tokens.
        size: bytes of the input.
    """

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
        """Whether the window is large enough, or would be too large with so ``more`` rows."""
        rows = len(self._places)
        return (rows > 0 and rows + more > WINDOW_ROWS) or (
            self.tokens >= (self.most_tokens or self._suitable_tokens) or self.size >= WINDOW_BYTES
        )

    @property
    def _suitable_tokens(self) -> int:
        return WINDOW_TOKENS if self.encoder.pads else PACKED_WINDOW_TOKENS

    def add(self, rows: Rows) -> None:
        """Tokenize and add rows.

        Raises:
            InvalidTextError: a text cannot be encoded or is too long, and the policy is ``fail``.
        """
        places = self._place(rows)
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
        """Plan the batches."""
        places = np.array(self._places, dtype=np.int64)
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
        return Window(partition, self.rows, places, len(self.cut), batches, counts, last)

    def _place(self, rows: Rows) -> list[int]:
        """Add the texts that are not here yet; where the vector of each row is among the distinct ones."""
        texts = texts_of(self.encoder, rows, self.prefix)
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if rows.token_ids is None:
            self._add(fresh, *tokenize(self.encoder, fresh, self.task))
        else:
            known = dict(zip(texts, rows.token_ids, strict=True))
            self._add(fresh, [known[text] for text in fresh], None, [False] * len(fresh))
        return [self._known[text] for text in texts]

    def _add(
        self, fresh: list[Text], token_ids: list[TokenIds], types: list[TokenIds] | None, cut: list[bool]
    ) -> None:
        self._known.update(zip(fresh, itertools.count(len(self.token_ids)), strict=False))
        self.token_ids += token_ids
        self.token_types += types or []
        self.cut += cut
        self.tokens += sum(map(len, token_ids))

    def _plan(self, wanted: npt.NDArray[np.int64]) -> tuple[list[TokenizedBatch], int]:
        """Plan batches for the wanted distinct vectors; return them and how many tokens they compute."""
        self._prompt_lengths = prompt_lengths(self.encoder, list(self._known))
        planned = self._planned([len(self.token_ids[index]) for index in wanted])
        batches = [self._batch(wanted[batch.indices]) for batch in planned]
        return batches, sum(batch.tokens for batch in planned)

    def _planned(self, lengths: list[int]) -> list[Batch]:
        budget = None if self.encoder.pads else PACKED_BATCH_TOKENS
        return list(self.encoder.plan(np.array(lengths, dtype=np.int64), token_budget=budget))

    def _batch(self, indices: npt.NDArray[np.int64]) -> TokenizedBatch:
        return TokenizedBatch(
            indices,
            [self.token_ids[index] for index in indices],
            self._prompt_lengths and [self._prompt_lengths[index] for index in indices],
            [self.token_types[index] for index in indices] if self.token_types else None,
        )
