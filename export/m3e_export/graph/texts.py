"""How a graph's inputs hold the texts of a batch: in padded rows, or end to end.

These are the layouts that :mod:`m3e_runtime.gpu.batch_shapes` fills.
"""

from __future__ import annotations

import abc
from functools import cached_property
from typing import Literal

import numpy as np
import onnx_ir as ir
from typing_extensions import override

from m3e_export.checkpoint.pooling import Reduction
from m3e_export.errors import UnsupportedModelError
from m3e_export.graph.builder import GraphBuilder

__all__ = ["PackedTexts", "PaddedTexts", "Texts"]

_MIN_COUNT = 1e-9  # sentence-transformers' clamp: a text of no tokens gives zeros, not NaN
_LOWEST = -3.0e38  # below every state


class Texts(abc.ABC):
    """The inputs of one graph. Flat states are ``[tokens in all, hidden]``, padding included."""

    layout: Literal["padded", "packed"]

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.inputs: list[ir.Value] = []
        self.input_ids = self.input("input_ids", ir.DataType.INT64)

    @abc.abstractmethod
    def input(self, name: str, dtype: ir.DataType) -> ir.Value:
        """Another input of the graph."""

    def positions(self, table: ir.Value, padding: int | None) -> ir.Value:
        """Rows of ``table``, to be added to the word embeddings.

        Tokens with the id ``padding`` have the first row, and the others are counted from 1. Without such an
        id all are counted, from 0.
        """
        if padding is None:
            return self.all_positions(table)
        op, const = self.builder.op, self.builder.constant
        is_padding = op("Equal", self.input_ids, const(padding, np.int64))
        # Counted in float32: TensorRT sums up no integers.
        counted = op("Cast", op("Not", is_padding), to=ir.DataType.FLOAT)
        rows = op("Mul", self.count_in_texts(counted), counted)
        return op("Gather", table, op("Cast", rows, to=ir.DataType.INT64), axis=0)

    @abc.abstractmethod
    def all_positions(self, table: ir.Value) -> ir.Value:
        """Rows of ``table`` for all tokens, in order from the first."""

    @abc.abstractmethod
    def count_in_texts(self, ones: ir.Value) -> ir.Value:
        """How many ``ones`` a text has up to each token, float32 like them."""

    @abc.abstractmethod
    def token_places(self) -> ir.Value:
        """The place in its text of each token that attention compares, from 0 on, int64 ``[tokens]``."""

    @abc.abstractmethod
    def states(self, flat: ir.Value, hidden: int) -> ir.Value:
        """The flat states as :meth:`reduce` and :meth:`mean` take them."""

    def reduce(self, reduction: Reduction, states: ir.Value) -> ir.Value:
        """One vector of each text, float32 ``[texts, hidden]``.

        Raises:
            UnsupportedModelError: these texts cannot be reduced so.
        """
        return {
            "cls": self.first,
            "max": self.maximum,
            "mean": self.mean,
            "mean_sqrt_len_tokens": self.mean_sqrt_length,
            "weightedmean": self.weighted_mean,
            "lasttoken": self.last,
        }[reduction](states)

    @abc.abstractmethod
    def first(self, states: ir.Value) -> ir.Value:
        """The first token of each text, ``[texts, hidden]``."""

    @abc.abstractmethod
    def mean(self, states: ir.Value) -> ir.Value:
        """The mean over the tokens of each text, float32 ``[texts, hidden]``."""

    @abc.abstractmethod
    def mean_sqrt_length(self, states: ir.Value) -> ir.Value:
        """The sum over the tokens over the square root of their number, like :meth:`mean`."""

    @abc.abstractmethod
    def weighted_mean(self, states: ir.Value) -> ir.Value:
        """The mean with the weights 1, 2, 3 …, like :meth:`mean`."""

    @abc.abstractmethod
    def last(self, states: ir.Value) -> ir.Value:
        """The last token of each text, like :meth:`first`."""

    @abc.abstractmethod
    def maximum(self, states: ir.Value) -> ir.Value:
        """The largest value of each number over the tokens of each text, like :meth:`mean`."""

    def _count(self, size: ir.Value) -> ir.Value:
        """0, 1, 2 … for a dimension, int64 ``[1]``. A Range takes it from the CPU, where shapes are."""
        op, const = self.builder.op, self.builder.constant
        return op("Range", const(0, np.int64), op("Squeeze", size, const([0], np.int64)), const(1, np.int64))

    def _divide(self, total: ir.Value, count: ir.Value) -> ir.Value:
        op = self.builder.op
        return op("Div", total, op("Max", count, self.builder.constant(_MIN_COUNT, np.float32)))


class PaddedTexts(Texts):
    """``input_ids`` and ``attention_mask``, int64 ``[batch, length]``."""

    layout = "padded"

    def __init__(self, builder: GraphBuilder) -> None:
        super().__init__(builder)
        self.mask = self.input("attention_mask", ir.DataType.INT64)
        self.prompt_length: ir.Value | None = None

    @override
    def input(self, name: str, dtype: ir.DataType) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(["batch", "length"]), type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    @cached_property
    def batch(self) -> ir.Value:
        """Number of texts, int64 ``[1]``."""
        return self.builder.op("Shape", self.input_ids, start=0, end=1)

    @cached_property
    def length(self) -> ir.Value:
        """Length of the longest text, int64 ``[1]``."""
        return self.builder.op("Shape", self.input_ids, start=1, end=2)

    def split(self, *last: int) -> ir.Value:
        """The shape ``[batch, length, *last]``."""
        return self.builder.op(
            "Concat", self.batch, self.length, self.builder.constant(list(last), np.int64), axis=0
        )

    def leave_out_prompts(self) -> None:
        """Pool all but the first ``prompt_length`` tokens of a text, int64 ``[batch]``, or ``[1]`` for all.

        The input has a default, 0, so that tools that do not know it need not give it.
        """
        self.prompt_length = self.builder.weight("prompt_length", np.zeros(1, np.int64))
        self.prompt_length.shape = ir.Shape(["prompts"])
        self.inputs.append(self.prompt_length)

    @cached_property
    def tokens(self) -> ir.Value:
        """1 for a token and 0 for padding, float32 ``[batch, length]``."""
        return self.builder.op("Cast", self.mask, to=ir.DataType.FLOAT)

    @cached_property
    def places(self) -> ir.Value:
        """1 for the first token of a text, 2 for the second …, float32 ``[batch, length]``."""
        return self.count_in_texts(self.tokens)

    @cached_property
    def weights(self) -> ir.Value:
        """1 for a token that is pooled, 0 for prompts and padding, float32 ``[batch, length]``."""
        if self.prompt_length is None:
            return self.tokens
        op, axis = self.builder.op, self.builder.constant([1], np.int64)
        lengths = op("Cast", op("Unsqueeze", self.prompt_length, axis), to=ir.DataType.FLOAT)
        behind = op("Cast", op("Greater", self.places, lengths), to=ir.DataType.FLOAT)
        return op("Mul", behind, self.tokens)

    @cached_property
    def counts(self) -> ir.Value:
        """Tokens of each text that are pooled, float32 ``[batch, 1]``."""
        return self.builder.op("ReduceSum", self.weights, self.builder.constant([1], np.int64), keepdims=1)

    @cached_property
    def any_tokens(self) -> ir.Value:
        """1 for a text, 0 for one of no tokens to pool, float32 ``[batch, 1]``."""
        return self.builder.op("Min", self.counts, self.builder.constant(1, np.float32))

    @override
    def all_positions(self, table: ir.Value) -> ir.Value:
        """The same for every text."""
        start, axis = self.builder.constant([0], np.int64), self.builder.constant([0], np.int64)
        return self.builder.op("Slice", table, start, self.length, axis)

    @override
    def count_in_texts(self, ones: ir.Value) -> ir.Value:
        return self.builder.op("CumSum", ones, self.builder.constant(1, np.int64))

    @override
    def token_places(self) -> ir.Value:
        """``[length]``, the same for every text."""
        return self._count(self.length)

    @override
    def states(self, flat: ir.Value, hidden: int) -> ir.Value:
        return self.builder.op("Reshape", flat, self.split(hidden))

    @override
    def first(self, states: ir.Value) -> ir.Value:
        """The first of all where none is to be pooled."""
        if self.prompt_length is not None:
            place = self.builder.op("ArgMax", self.weights, axis=1, keepdims=1)
            return self.builder.op("GatherND", states, place, batch_dims=1)
        return self.builder.op("Gather", states, self.builder.constant(0, np.int64), axis=1)

    @override
    def mean(self, states: ir.Value) -> ir.Value:
        return self._divide(self._sum(states, self.weights), self.counts)

    @override
    def mean_sqrt_length(self, states: ir.Value) -> ir.Value:
        return self._divide(self._sum(states, self.weights), self.builder.op("Sqrt", self.counts))

    @override
    def weighted_mean(self, states: ir.Value) -> ir.Value:
        op, axis = self.builder.op, self.builder.constant([1], np.int64)
        weights = op("Mul", self.places, self.weights)
        return self._divide(self._sum(states, weights), op("ReduceSum", weights, axis, keepdims=1))

    @override
    def last(self, states: ir.Value) -> ir.Value:
        """Padding is behind the tokens."""
        op, const = self.builder.op, self.builder.constant
        place = op("Sub", op("ReduceSum", self.mask, const([1], np.int64), keepdims=1), const(1, np.int64))
        found = op("GatherND", states, op("Max", place, const(0, np.int64)), batch_dims=1)
        return op("Mul", found, self.any_tokens)

    @override
    def maximum(self, states: ir.Value) -> ir.Value:
        op, const = self.builder.op, self.builder.constant
        token = op("Unsqueeze", op("Greater", self.weights, const(0, np.float32)), const([2], np.int64))
        shown = op("Where", token, states, const(_LOWEST, np.float32))
        largest = self.builder.reduce("ReduceMax", shown, 1, keepdims=False)
        return op("Mul", largest, self.any_tokens)

    def _sum(self, states: ir.Value, weights: ir.Value) -> ir.Value:
        """The states times ``weights`` (``[batch, length]``), summed over the tokens of each text."""
        op, axis = self.builder.op, self.builder.constant([1], np.int64)
        return op("Squeeze", op("MatMul", op("Unsqueeze", weights, axis), states), axis)


class PackedTexts(Texts):
    """``input_ids``, ``position_ids`` and ``cumulative_lengths``: where each text starts and the last ends.

    What depends on the batch is computed from these without leaving the GPU: ONNX Runtime would compute on
    shapes on the CPU, and what is copied from there cannot be recorded. A Range of a size stays on the GPU.
    """

    layout = "packed"

    def __init__(self, builder: GraphBuilder) -> None:
        super().__init__(builder)
        self.position_ids = self.input("position_ids", ir.DataType.INT64)
        self.cumulative_lengths = self.input("cumulative_lengths", ir.DataType.INT32, "texts_and_one")

    @override
    def input(self, name: str, dtype: ir.DataType, *dimensions: str) -> ir.Value:
        """Of ``[tokens]``, unless ``dimensions`` are given."""
        shape = ir.Shape(dimensions or ["tokens"])
        value = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    @cached_property
    def token_offset(self) -> ir.Value:
        """Where each token would be in padded rows: an input of those graphs only that ask for it."""
        return self.input("token_offset", ir.DataType.INT32, "texts", "longest")

    @cached_property
    def starts(self) -> ir.Value:
        """Where each text starts, int32 ``[texts]``."""
        return self._slice(0, -1)

    @cached_property
    def ends(self) -> ir.Value:
        """Where each text ends, int32 ``[texts]``."""
        return self._slice(1, np.iinfo(np.int64).max)

    @cached_property
    def counts(self) -> ir.Value:
        """Tokens of each text, float32 ``[texts, 1]``."""
        counts = self.builder.op("Cast", self.builder.op("Sub", self.ends, self.starts), to=ir.DataType.FLOAT)
        return self.builder.op("Unsqueeze", counts, self.builder.constant([1], np.int64))

    @cached_property
    def membership(self) -> ir.Value:
        """1 where a token is of a text, else 0, float32 ``[texts, tokens]``."""
        op, const = self.builder.op, self.builder.constant
        size = op("Cast", op("Size", self.input_ids), to=ir.DataType.INT32)
        places = op("Range", const(0, np.int32), size, const(1, np.int32))
        column = const([1], np.int64)
        begun = op("GreaterOrEqual", places, op("Unsqueeze", self.starts, column))
        going_on = op("Less", places, op("Unsqueeze", self.ends, column))
        return op("Cast", op("And", begun, going_on), to=ir.DataType.FLOAT)

    @override
    def all_positions(self, table: ir.Value) -> ir.Value:
        return self.builder.op("Gather", table, self.position_ids, axis=0)

    @override
    def count_in_texts(self, ones: ir.Value) -> ir.Value:
        """The count in the batch, less what it is before the text's first token."""
        op, const = self.builder.op, self.builder.constant
        starts = op("Sub", self._count(op("Shape", self.input_ids)), self.position_ids)
        counts = op("CumSum", ones, const(0, np.int64))
        before = op("Sub", counts, ones)
        return op("Sub", counts, op("Gather", before, starts, axis=0))

    @override
    def token_places(self) -> ir.Value:
        """``[tokens]``."""
        return self.position_ids

    def padded_places(self) -> ir.Value:
        """The places of a padded row, int64 ``[longest]``."""
        return self._count(self.builder.op("Shape", self.token_offset, start=1, end=2))

    @override
    def states(self, flat: ir.Value, hidden: int) -> ir.Value:
        """Flat they stay."""
        del hidden
        return flat

    @override
    def first(self, states: ir.Value) -> ir.Value:
        return self.builder.op("Gather", states, self.starts, axis=0)

    @override
    def mean(self, states: ir.Value) -> ir.Value:
        return self._divide(self.builder.op("MatMul", self.membership, states), self.counts)

    @override
    def mean_sqrt_length(self, states: ir.Value) -> ir.Value:
        op = self.builder.op
        return self._divide(op("MatMul", self.membership, states), op("Sqrt", self.counts))

    @override
    def weighted_mean(self, states: ir.Value) -> ir.Value:
        op, const = self.builder.op, self.builder.constant
        places = op("Add", op("Cast", self.position_ids, to=ir.DataType.FLOAT), const(1, np.float32))
        weights = op("Mul", self.membership, places)
        total = op("ReduceSum", weights, const([1], np.int64), keepdims=1)
        return self._divide(op("MatMul", weights, states), total)

    @override
    def last(self, states: ir.Value) -> ir.Value:
        op, const = self.builder.op, self.builder.constant
        return op("Gather", states, op("Sub", self.ends, const(1, np.int32)), axis=0)

    @override
    def maximum(self, states: ir.Value) -> ir.Value:
        """No standard operator takes the largest of runs of unequal length.

        Raises:
            UnsupportedModelError: always.
        """
        del states
        raise UnsupportedModelError(
            "the pooling 'max' is not supported where texts are packed; use --target cuda or native."
        )

    def _slice(self, start: int, end: int) -> ir.Value:
        bounds = (self.builder.constant([at], np.int64) for at in (start, end, 0))
        return self.builder.op("Slice", self.cumulative_lengths, *bounds)
