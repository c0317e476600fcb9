"""The inputs of a graph: the texts of a batch in padded rows, or packed end to end.

:mod:`m3e_runtime.gpu.batch_shapes` fills these layouts.
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

_MIN_COUNT = 1e-9  # the clamp of sentence-transformers: a text without tokens gives zeros, not NaN
_LOWEST = -3.0e38  # below every state


class Texts(abc.ABC):
    """The inputs of one graph. Flat states are ``[all tokens, hidden]``, including padding."""

    layout: Literal["padded", "packed"]

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.inputs: list[ir.Value] = []
        self.input_ids = self.input("input_ids", ir.DataType.INT64)

    @cached_property
    def token_type_ids(self) -> ir.Value:
        """The type of each token. Only graphs that use it have this input."""
        return self.input("token_type_ids", ir.DataType.INT64)

    @abc.abstractmethod
    def input(self, name: str, dtype: ir.DataType) -> ir.Value:
        """Add an input to the graph."""

    def positions(self, table: ir.Value, padding: int | None) -> ir.Value:
        """The rows of ``table`` to add to the word embeddings.

        Tokens with the id ``padding`` have row 0, and the others are counted from 1. If ``padding`` is None,
        all tokens are counted from 0.
        """
        if padding is None:
            return self.all_positions(table)
        op, const = self.builder.op, self.builder.constant
        is_padding = op("Equal", self.input_ids, const(padding, np.int64))
        # In float32: TensorRT has no cumulative sum of integers.
        counted = op("Cast", op("Not", is_padding), to=ir.DataType.FLOAT)
        rows = op("Mul", self.count_in_texts(counted), counted)
        return op("Gather", table, op("Cast", rows, to=ir.DataType.INT64), axis=0)

    @abc.abstractmethod
    def split(self, *last: int) -> ir.Value:
        """The shape of states that are not flat, with ``last`` as its last dimensions."""

    @abc.abstractmethod
    def all_positions(self, table: ir.Value) -> ir.Value:
        """Rows of ``table`` for all tokens, in order from the first."""

    @abc.abstractmethod
    def count_in_texts(self, ones: ir.Value) -> ir.Value:
        """The number of ``ones`` in a text up to each token, float32."""

    @abc.abstractmethod
    def token_places(self) -> ir.Value:
        """The place of each token in its text, from 0, for attention; int64 ``[tokens]``."""

    @abc.abstractmethod
    def states(self, flat: ir.Value, hidden: int) -> ir.Value:
        """The flat states in the shape that :meth:`reduce` and :meth:`mean` need."""

    def reduce(self, reduction: Reduction, states: ir.Value) -> ir.Value:
        """One vector of each text, float32 ``[texts, hidden]``.

        Raises:
            UnsupportedModelError: the reduction is not supported for this layout.
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
        """The mean of each text's tokens, float32 ``[texts, hidden]``."""

    @abc.abstractmethod
    def mean_sqrt_length(self, states: ir.Value) -> ir.Value:
        """The sum of each text's tokens divided by the square root of their number."""

    @abc.abstractmethod
    def weighted_mean(self, states: ir.Value) -> ir.Value:
        """The mean of each text's tokens with the weights 1, 2, 3 and so on."""

    @abc.abstractmethod
    def last(self, states: ir.Value) -> ir.Value:
        """The last token of each text, ``[texts, hidden]``."""

    @abc.abstractmethod
    def maximum(self, states: ir.Value) -> ir.Value:
        """The maximum over each text's tokens, float32 ``[texts, hidden]``."""

    def _count(self, size: ir.Value) -> ir.Value:
        """Count 0, 1, 2 … up to ``size``, an int64 ``[1]``. The Range runs on the CPU, like all shapes."""
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

    @override
    def split(self, *last: int) -> ir.Value:
        """``[batch, length, *last]``."""
        return self.builder.op(
            "Concat", self.batch, self.length, self.builder.constant(list(last), np.int64), axis=0
        )

    def leave_out_prompts(self) -> None:
        """Do not pool the first ``prompt_length`` tokens, int64 ``[batch]``, or ``[1]`` for all texts.

        The input defaults to 0, for tools that do not know it.
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
        """1 for pooled tokens, 0 for prompts and padding, float32 ``[batch, length]``."""
        if self.prompt_length is None:
            return self.tokens
        op, axis = self.builder.op, self.builder.constant([1], np.int64)
        lengths = op("Cast", op("Unsqueeze", self.prompt_length, axis), to=ir.DataType.FLOAT)
        behind = op("Cast", op("Greater", self.places, lengths), to=ir.DataType.FLOAT)
        return op("Mul", behind, self.tokens)

    @cached_property
    def counts(self) -> ir.Value:
        """The number of pooled tokens of each text, float32 ``[batch, 1]``."""
        return self.builder.op("ReduceSum", self.weights, self.builder.constant([1], np.int64), keepdims=1)

    @cached_property
    def any_tokens(self) -> ir.Value:
        """1 for a text with tokens to pool, else 0, float32 ``[batch, 1]``."""
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
        """If no token is pooled, the first of the text."""
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
        """Padding follows the tokens."""
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
        """The sum of each text's states times ``weights``, ``[batch, length]``."""
        op, axis = self.builder.op, self.builder.constant([1], np.int64)
        return op("Squeeze", op("MatMul", op("Unsqueeze", weights, axis), states), axis)


class PackedTexts(Texts):
    """``input_ids``, ``position_ids`` and ``cumulative_lengths`` (starts of texts, and the end of the last).

    Everything that depends on the batch is computed from these inputs on the GPU. ONNX Runtime computes with
    shapes on the CPU, and CUDA graphs cannot record copies from there. A Range of a Size stays on the GPU.
    """

    layout = "packed"

    def __init__(self, builder: GraphBuilder) -> None:
        super().__init__(builder)
        self.position_ids = self.input("position_ids", ir.DataType.INT64)
        self.cumulative_lengths = self.input("cumulative_lengths", ir.DataType.INT32, "texts_and_one")

    @override
    def input(self, name: str, dtype: ir.DataType, *dimensions: str) -> ir.Value:
        """The shape is ``[tokens]`` by default."""
        shape = ir.Shape(dimensions or ["tokens"])
        value = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    @cached_property
    def token_offset(self) -> ir.Value:
        """The place of each token in padded rows. Only graphs that use it have this input."""
        return self.input("token_offset", ir.DataType.INT32, "texts", "longest")

    @cached_property
    def starts(self) -> ir.Value:
        """The start of each text, int32 ``[texts]``."""
        return self._slice(0, -1)

    @cached_property
    def ends(self) -> ir.Value:
        """The end of each text, int32 ``[texts]``."""
        return self._slice(1, np.iinfo(np.int64).max)

    @cached_property
    def counts(self) -> ir.Value:
        """The number of tokens of each text, float32 ``[texts, 1]``."""
        counts = self.builder.op("Cast", self.builder.op("Sub", self.ends, self.starts), to=ir.DataType.FLOAT)
        return self.builder.op("Unsqueeze", counts, self.builder.constant([1], np.int64))

    @cached_property
    def membership(self) -> ir.Value:
        """1 if a token belongs to a text, else 0, float32 ``[texts, tokens]``."""
        op, const = self.builder.op, self.builder.constant
        size = op("Cast", op("Size", self.input_ids), to=ir.DataType.INT32)
        places = op("Range", const(0, np.int32), size, const(1, np.int32))
        column = const([1], np.int64)
        begun = op("GreaterOrEqual", places, op("Unsqueeze", self.starts, column))
        going_on = op("Less", places, op("Unsqueeze", self.ends, column))
        return op("Cast", op("And", begun, going_on), to=ir.DataType.FLOAT)

    @override
    def split(self, *last: int) -> ir.Value:
        """``[tokens, *last]``."""
        return self.builder.constant([-1, *last], np.int64)

    @override
    def all_positions(self, table: ir.Value) -> ir.Value:
        return self.builder.op("Gather", table, self.position_ids, axis=0)

    @override
    def count_in_texts(self, ones: ir.Value) -> ir.Value:
        """The count in the batch minus the count before the text."""
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
        """They stay flat."""
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
        """There is no standard operator for the maximum of runs of unequal length.

        Raises:
            UnsupportedModelError: always.
        """
        del states
        raise UnsupportedModelError(
            "the pooling 'max' is not supported in packed batches; use --target cuda or native."
        )

    def _slice(self, start: int, end: int) -> ir.Value:
        bounds = (self.builder.constant([at], np.int64) for at in (start, end, 0))
        return self.builder.op("Slice", self.cumulative_lengths, *bounds)
