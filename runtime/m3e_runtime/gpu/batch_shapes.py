"""Layouts of a batch's token ids for engines on a GPU, and the rounding of batch sizes.

A GPU is fastest at replaying recorded work, which has fixed shapes. Small batches are therefore rounded up to
a few sizes with filler texts. Large batches keep their sizes, because there computing costs more than
launching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from m3e_runtime.tokenization import TokenIds

__all__ = ["BatchSize", "Layout", "PackedLayout", "PaddedLayout", "layout_for", "round_up"]

RECORDED_TOKENS = 2048
"""Batches up to this many tokens are rounded up. Larger ones keep a GPU busy for a millisecond or more."""

_STEP = 8
"""Lengths are multiples of it, as the tiles of matrix units are."""

_FILLER_ID = 0

_TYPES = "token_type_ids"
"""An input of models that take a type for each token. Filler tokens have type 0."""


@dataclass(frozen=True)
class BatchSize:
    """Number of texts, tokens (of each text if padded, else of all) and a bound on the longest text."""

    texts: int
    tokens: int
    longest: int
    recorded: bool
    """Whether the size is rounded up, and therefore recurs."""


class Layout(Protocol):
    """The inputs of a graph, by name."""

    types: Mapping[str, np.dtype[Any]]

    def size(self, lengths: Sequence[int], exact: bool = False) -> BatchSize:
        """The size for texts of these token counts, rounded up unless ``exact`` or too large."""
        ...

    def shapes(self, size: BatchSize) -> dict[str, tuple[int, ...]]:
        """The shape of each input."""
        ...

    def fill(
        self,
        token_ids: Sequence[TokenIds],
        size: BatchSize,
        into: Mapping[str, npt.NDArray[Any]],
        token_types: Sequence[TokenIds] | None = None,
    ) -> None:
        """Write the inputs into arrays of :meth:`shapes` and ``types``; the texts' results come first.

        ``token_types`` are those of each text's tokens, for a layout that has them; None: all are 0.
        """
        ...


class PaddedLayout:
    """``input_ids`` and ``attention_mask``, int64 ``[texts, tokens]``, padded on the right.

    With ``token_types`` also ``token_type_ids`` of the same form. Filler texts have one token each: attention
    over no tokens is undefined.
    """

    def __init__(self, max_length: int, token_types: bool = False) -> None:
        self._max_length = max_length
        names = ("input_ids", "attention_mask", *([_TYPES] if token_types else []))
        self.types: Mapping[str, np.dtype[Any]] = dict.fromkeys(names, np.dtype(np.int64))

    def size(self, lengths: Sequence[int], exact: bool = False) -> BatchSize:
        """See :class:`Layout`."""
        texts, longest = len(lengths), max(lengths)
        length = min(round_up(longest, _STEP), max(self._max_length, longest))
        rounded = round_up(texts)
        if exact or rounded * length > RECORDED_TOKENS:
            tiled = min(-(-longest // _STEP) * _STEP, max(self._max_length, longest))
            return BatchSize(texts, tiled, tiled, recorded=False)
        return BatchSize(rounded, length, length, recorded=True)

    def shapes(self, size: BatchSize) -> dict[str, tuple[int, ...]]:
        """See :class:`Layout`."""
        return dict.fromkeys(self.types, (size.texts, size.tokens))

    def fill(
        self,
        token_ids: Sequence[TokenIds],
        size: BatchSize,
        into: Mapping[str, npt.NDArray[Any]],
        token_types: Sequence[TokenIds] | None = None,
    ) -> None:
        """See :class:`Layout`."""
        del size
        ids, mask = into["input_ids"], into["attention_mask"]
        ids.fill(_FILLER_ID)
        mask.fill(0)
        mask[:, 0] = 1
        for row, text in enumerate(token_ids):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        if _TYPES in self.types:
            into[_TYPES].fill(0)
            for row, text in enumerate(token_types or ()):
                into[_TYPES][row, : len(text)] = text


class PackedLayout:
    """Texts end to end, without padding.

    ``input_ids`` and ``position_ids``, int64 ``[tokens]``; ``cumulative_lengths``, int32 ``[texts + 1]``,
    where each text starts and the last ends. With ``token_types`` also ``token_type_ids``, int64
    ``[tokens]``. With ``offsets`` also ``token_offset``, int32 ``[texts, longest]``, which ONNX Runtime's
    packed attention takes: where each token, and after them each gap, would be in padded rows.
    """

    def __init__(self, max_length: int, offsets: bool = False, token_types: bool = False) -> None:
        self._max_length = max_length
        types: dict[str, np.dtype[Any]] = {
            "input_ids": np.dtype(np.int64),
            "position_ids": np.dtype(np.int64),
            "cumulative_lengths": np.dtype(np.int32),
        }
        if offsets:
            types["token_offset"] = np.dtype(np.int32)
        if token_types:
            types[_TYPES] = np.dtype(np.int64)
        self.types: Mapping[str, np.dtype[Any]] = types

    def size(self, lengths: Sequence[int], exact: bool = False) -> BatchSize:
        """Rounding up adds filler texts, which hold the filler tokens."""
        texts, tokens, longest = len(lengths), sum(lengths), max(lengths)
        # Each holds at least one token and at most max_length, and rounding adds less than an eighth.
        fillers = max(1, -(-RECORDED_TOKENS // 8 // max(1, self._max_length - 1)))
        rounded = round_up(texts + fillers)
        total = round_up(tokens + rounded - texts, _STEP)
        if exact or total > RECORDED_TOKENS:
            return BatchSize(texts, tokens, longest, recorded=False)
        spare = -(-(total - tokens) // (rounded - texts))
        # If no input has that shape, sizes need not differ in it.
        bound = max(longest, spare) if "token_offset" in self.types else min(total, self._max_length)
        return BatchSize(rounded, total, round_up(bound, _STEP), recorded=True)

    def shapes(self, size: BatchSize) -> dict[str, tuple[int, ...]]:
        """See :class:`Layout`."""
        shapes: dict[str, tuple[int, ...]] = {
            "input_ids": (size.tokens,),
            "position_ids": (size.tokens,),
            "cumulative_lengths": (size.texts + 1,),
            "token_offset": (size.texts, size.longest),
            _TYPES: (size.tokens,),
        }
        return {name: shapes[name] for name in self.types}

    def fill(
        self,
        token_ids: Sequence[TokenIds],
        size: BatchSize,
        into: Mapping[str, npt.NDArray[Any]],
        token_types: Sequence[TokenIds] | None = None,
    ) -> None:
        """See :class:`Layout`."""
        lengths = np.zeros(size.texts, dtype=np.int64)
        lengths[: len(token_ids)] = [len(text) for text in token_ids]
        used, fillers = int(lengths.sum()), size.texts - len(token_ids)
        if fillers:
            shares, more = divmod(size.tokens - used, fillers)
            lengths[len(token_ids) :] = shares
            lengths[size.texts - more :] += 1
        ends = np.cumsum(lengths)
        into["cumulative_lengths"][0] = 0
        into["cumulative_lengths"][1:] = ends
        np.concatenate(token_ids, out=into["input_ids"][:used], casting="same_kind")
        into["input_ids"][used:] = _FILLER_ID
        np.subtract(np.arange(size.tokens), np.repeat(ends - lengths, lengths), out=into["position_ids"])
        if "token_offset" in self.types:
            places = np.arange(size.texts * size.longest).reshape(size.texts, size.longest)
            taken = np.arange(size.longest) < lengths[:, None]
            into["token_offset"].reshape(-1)[:] = np.concatenate([places[taken], places[~taken]])
        if _TYPES in self.types:
            into[_TYPES].fill(0)
            if token_types:
                np.concatenate(token_types, out=into[_TYPES][:used], casting="same_kind")


def layout_for(name: str, max_length: int, offsets: bool = False, token_types: bool = False) -> Layout:
    """The layout of that name in a manifest. For ``offsets`` see :class:`PackedLayout`."""
    if name == "packed":
        return PackedLayout(max_length, offsets, token_types)
    return PaddedLayout(max_length, token_types)


def round_up(size: int, least: int = 1) -> int:
    """Round up to one of four sizes between two powers of two, and to a multiple of ``least``."""
    step = max(least, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // step) * step
