"""What all dialects share: matrix products in each precision, and checks of the finished graph."""

from __future__ import annotations

import abc
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.architectures import (
    Activation,
    EncoderSpec,
    EncoderWeights,
    LayerAttention,
    Linear,
    Norm,
)
from m3e_export.errors import UnsupportedModelError
from m3e_export.graph.builder import OPSET, GraphBuilder
from m3e_export.graph.dialects.rowwise import RowwiseProducts, integer_product
from m3e_export.graph.texts import PaddedTexts, Texts
from m3e_export.precision.int8 import QuantizedLinear
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["LOGISTIC_FACTORS", "MASKED", "Dialect"]

LOGISTIC_FACTORS: dict[Activation, float] = {"quick_gelu": 1.702, "silu": 1.0}
"""Activations ``x · σ(f · x)``, by their factor f."""

MASKED = -10000.0
"""Added to the scores of padding. It is finite in fp16, and its exp() is zero beside any real score."""


class Dialect(abc.ABC):
    """The operators of one encoder graph. Flat tensors are ``[tokens, …]``, including padding."""

    texts_type: ClassVar[type[Texts]] = PaddedTexts
    """The layout of the inputs."""

    twin: ClassVar[type[Dialect] | None] = None
    """The dialect of the same graph without operators that need a GPU; None if this one has none."""

    gives_states: ClassVar[bool] = True
    """Whether the states of all tokens are an output, which other tools expect."""

    leaves_out_prompts: ClassVar[bool] = True
    """Whether the pooling can leave out prompts. Graphs for a GPU have no input for it."""

    fused_attention: str
    """The operator that occurs once in each layer's attention."""

    fused_norm = "LayerNormalization"
    """The operator of each of a layer's two normalizations if they follow the residual sums."""

    activations: ClassVar[Mapping[Activation, str]] = {
        "gelu": "Gelu",
        "gelu_tanh": "Gelu",
        "quick_gelu": "Sigmoid",
        "relu": "Relu",
        "silu": "Sigmoid",
    }
    """The operator that occurs once in each layer's activation."""

    integer_operators: tuple[str, ...] = ("MatMulIntegerToFloat", "MatMulInteger")
    """Each product with a quantized matrix has one of these operators."""

    opset: int = OPSET

    def __init__(
        self,
        builder: GraphBuilder,
        spec: EncoderSpec,
        plan: PrecisionPlan,
        relative_bias: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """``relative_bias`` is that of the encoder's weights.

        The attribute ``compute`` is the dtype of the arithmetic of the part being written: the plan's, or
        float32 for matrices that half precision cannot hold. ``seen`` says what the attention of the layer
        being written sees.
        """
        self.builder = builder
        self.spec = spec
        self.plan = plan
        self.relative_bias = relative_bias
        self.compute = plan.compute
        self.seen = LayerAttention()
        self.texts = self.texts_type(builder)
        self._parameters: dict[tuple[str, str], ir.Value] = {}
        self._of_positions: dict[tuple[str, str], ir.Value] = {}
        self._masks: dict[tuple[str, int | None, int | None], ir.Value] = {}
        self._score_biases: dict[tuple[str, int | None, int | None], ir.Value] = {}
        self._products = RowwiseProducts(builder, self.integer_product)

    def leave_out_prompts(self) -> None:
        """Do not pool the tokens of prompts: see :meth:`PaddedTexts.leave_out_prompts`.

        Raises:
            UnsupportedModelError: the dialect does not support it.
        """
        if not self.leaves_out_prompts or not isinstance(self.texts, PaddedTexts):
            raise UnsupportedModelError(f"include_prompt=false is not supported in {type(self).__name__}.")
        self.texts.leave_out_prompts()

    def settle(self, names: Iterable[str]) -> None:
        """Choose the arithmetic of the next part, which uses the matrices and tables ``names``."""
        self.compute = self.plan.compute_of(names)

    def enter(self, x: ir.Value, names: Iterable[str]) -> ir.Value:
        """Call :meth:`settle`, and convert ``x`` to the new arithmetic."""
        before = self.compute
        self.settle(names)
        return x if self.compute == before else self.builder.op("Cast", x, to=self._type)

    @property
    def _type(self) -> ir.DataType:
        return ir.DataType.from_numpy(np.dtype(self.compute))

    @property
    def mask(self) -> ir.Value:
        """The result of :meth:`attention_mask`, computed once for each arithmetic and each window."""
        if self._kind not in self._masks:
            self._masks[self._kind] = self.attention_mask()
        return self._masks[self._kind]

    @property
    def _kind(self) -> tuple[str, int | None, int | None]:
        """What masks and biases of scores depend on."""
        return self._type.name, self.seen.before, self.seen.after

    @property
    def has_score_bias(self) -> bool:
        """Whether :attr:`score_bias` is not None in the layer being written."""
        return self.relative_bias is not None or not self.seen.full

    @property
    def score_bias(self) -> ir.Value | None:
        """The bias of the layer's scaled scores, ``[1, heads or 1, queries, keys]``, or None.

        It holds relative biases, and :data:`MASKED` outside the window. It has the dtype of the arithmetic,
        and is the same for every text.
        """
        if not self.has_score_bias:
            return None
        if self._kind not in self._score_biases:
            parts = [] if self.relative_bias is None else [self._relative_scores(self.relative_bias)]
            parts += [] if self.seen.full else [self._window_scores()]
            whole = parts[0] if len(parts) == 1 else self.builder.op("Add", *parts)
            self._score_biases[self._kind] = whole
        return self._score_biases[self._kind]

    def _window_scores(self) -> ir.Value:
        op, const = self.builder.op, self.builder.constant
        places = self.compared_places()
        distances = op("Sub", places, op("Unsqueeze", places, const([1], np.int64)))
        outside = []
        if self.seen.before is not None:
            outside.append(op("Less", distances, const(-self.seen.before, np.int64)))
        if self.seen.after is not None:
            outside.append(op("Greater", distances, const(self.seen.after, np.int64)))
        hidden = outside[0] if len(outside) == 1 else op("Or", *outside)
        scores = op("Where", hidden, const(MASKED, self.compute), const(0, self.compute))
        return op("Unsqueeze", scores, const([0, 1], np.int64))

    def _relative_scores(self, relative_bias: npt.NDArray[np.float32]) -> ir.Value:
        op, const = self.builder.op, self.builder.constant
        places = self.compared_places()
        keys = op("Add", places, const(self.spec.max_positions - 1, np.int64))
        columns = op("Sub", keys, op("Unsqueeze", places, const([1], np.int64)))
        table = self.parameter("relative_bias", relative_bias)
        return op("Unsqueeze", op("Gather", table, columns, axis=1), const([0], np.int64))

    def compared_places(self) -> ir.Value:
        """The places of queries and keys in the scores, int64 ``[queries]``."""
        return self.texts.token_places()

    @abc.abstractmethod
    def attention_mask(self) -> ir.Value:
        """The mask or lengths for :meth:`attention`, the same in every layer."""

    @abc.abstractmethod
    def attention(self, qkv: ir.Value, bias: ir.Value, mask: ir.Value) -> ir.Value:
        """Self-attention of flat ``qkv + bias``; returns the flat context ``[tokens, hidden]``."""

    def project(self, x: ir.Value, qkv: Linear) -> tuple[ir.Value, ir.Value]:
        """The product of query, key and value for :meth:`attention`, and its bias."""
        return self.linear(x, qkv)

    def arranged(self, qkv: ir.Value) -> ir.Value:
        """Flat ``qkv``, all queries before all keys before all values, as :meth:`attention` takes it."""
        return qkv

    def of_positions(self, name: str, table: npt.NDArray[np.float32]) -> ir.Value:
        """The rows of ``table``, ``[positions, width]``, for all tokens, to multiply all heads with.

        The table is stored in float32: angles need its digits.
        """
        key = name, self._type.name
        if key not in self._of_positions:
            op = self.builder.op
            rows = self.to_compute(self.texts.all_positions(self.builder.weight(name, table)))
            self._of_positions[key] = op("Unsqueeze", rows, self.builder.constant([1], np.int64))
        return self._of_positions[key]

    def integer_product(self, codes: ir.Value, linear: QuantizedLinear, zero_point: ir.Value) -> ir.Value:
        """``(codes - zero_point) @ weights`` times the weights' scales, float32."""
        return integer_product(self.builder, codes, linear, zero_point)

    def plain_attention(self, query: ir.Value, key: ir.Value, value: ir.Value, mask: ir.Value) -> ir.Value:
        """Attention as two products around a softmax.

        Args:
            query: ``[…, tokens, head_size]``.
            key: transposed, ``[…, head_size, tokens]``.
            value: ``[…, tokens, head_size]``.
            mask: float32, added to the scores. Scores and softmax are float32: fp16 could overflow.
        """
        op = self.builder.op
        scores = self.to_float32(op("MatMul", self.scaled(query), key))
        return op("MatMul", self.to_compute(op("Softmax", op("Add", scores, mask), axis=-1)), value)

    def scaled(self, query: ir.Value) -> ir.Value:
        """The scaled query. Scaling before the product keeps fp16 scores small."""
        scale = self.builder.constant(1 / math.sqrt(self.spec.head_size), self.compute)
        return self.builder.op("Mul", query, scale)

    def add_norm(self, x: ir.Value, bias: ir.Value, residual: ir.Value, norm: Norm) -> ir.Value:
        """Normalize ``x + bias + residual``.

        These are three operators: ONNX Runtime's fused SkipLayerNormalization is three times slower on a CPU
        (measured with 1.32: 1.9 ms against 0.6 ms for 1024 rows of 768, two threads).
        """
        return self.norm(self.builder.op("Add", self.builder.op("Add", x, bias), residual), norm)

    def activate(self, x: ir.Value, bias: ir.Value) -> ir.Value:
        """The encoder's activation of ``x + bias``."""
        return self.activated(self.builder.op("Add", x, bias), self.spec.activation)

    def activated(self, x: ir.Value, activation: Activation) -> ir.Value:
        """``activation`` of ``x``. Gelu of opset 20 is as fast as the fused BiasGelu."""
        if activation == "relu":
            return self.builder.op("Relu", x)
        if activation in LOGISTIC_FACTORS:
            factor = self.builder.constant(LOGISTIC_FACTORS[activation], self.compute)
            scaled = x if activation == "silu" else self.builder.op("Mul", x, factor)
            return self.builder.op("Mul", x, self.builder.op("Sigmoid", scaled))
        return self.builder.op("Gelu", x, approximate="tanh" if activation == "gelu_tanh" else "none")

    def gate(self, x: ir.Value, bias: ir.Value) -> ir.Value:
        """The gated activation of ``x + bias``: of its first half, times its second."""
        builder, width = self.builder, self.spec.intermediate
        sizes = builder.constant([width] * 2, np.int64)
        activated, factor = builder.ops("Split", x, sizes, outputs=2, axis=1)
        biases = builder.ops("Split", bias, sizes, outputs=2, axis=0)
        return builder.op("Mul", self.activate(activated, biases[0]), builder.op("Add", factor, biases[1]))

    def norm(self, x: ir.Value, norm: Norm) -> ir.Value:
        """Normalization with statistics in float32 (``stash_type`` of the operator)."""
        if self.spec.norm_kind == "rms":
            return self._root_mean_square_norm(x, norm)
        return self.builder.op(
            "LayerNormalization",
            x,
            self.parameter(f"{norm.name}.gamma", norm.gamma),
            self.parameter(f"{norm.name}.beta", norm.beta),
            axis=-1,
            epsilon=self.spec.norm_eps,
            stash_type=1,
        )

    def _root_mean_square_norm(self, x: ir.Value, norm: Norm) -> ir.Value:
        """Spelled out: the operator exists since opset 23 only."""
        op, wide = self.builder.op, self.to_float32(x)
        mean = self.builder.reduce("ReduceMean", op("Mul", wide, wide), -1, keepdims=True)
        root = op("Sqrt", op("Add", mean, self.builder.constant(self.spec.norm_eps, np.float32)))
        scaled = op(
            "Mul", self.to_compute(op("Div", wide, root)), self.parameter(f"{norm.name}.gamma", norm.gamma)
        )
        return (
            op("Add", scaled, self.parameter(f"{norm.name}.beta", norm.beta)) if norm.beta.any() else scaled
        )

    def linear(self, x: ir.Value, linear: Linear) -> tuple[ir.Value, ir.Value]:
        """``x @ weight``, and the bias to be added: fused operators add it at no cost."""
        quantized = self.plan.quantized.get(linear.name)
        if quantized is None:
            weight = self.parameter(f"{linear.name}.weight", linear.weight)
            return self.builder.op("MatMul", x, weight), self.parameter(f"{linear.name}.bias", linear.bias)
        bias = self.parameter(f"{linear.name}.bias", quantized.bias)
        return self.quantized_product(x, quantized), bias

    def parameter(self, name: str, array: np.ndarray) -> ir.Value:
        """A float weight in the storage of the plan, converted to the arithmetic."""
        key = name, self._type.name
        if key not in self._parameters:
            self._parameters[key] = self._parameter(name, array)
        return self._parameters[key]

    def _parameter(self, name: str, array: np.ndarray) -> ir.Value:
        matrix = array.ndim == 2
        of_plan = self.plan.storage_of(name.removesuffix(".weight"))
        storage = of_plan if matrix or self.compute == np.float16 else np.float32
        stored = self.builder.weight(name, array.astype(storage))
        return stored if storage == self.compute else self.builder.op("Cast", stored, to=self._type)

    def to_compute(self, x: ir.Value) -> ir.Value:
        """Convert from float32 to the arithmetic."""
        return self.builder.op("Cast", x, to=ir.DataType.FLOAT16) if self.compute == np.float16 else x

    def to_float32(self, x: ir.Value, compute: Any = None) -> ir.Value:
        """Convert from the arithmetic, or from ``compute``, to float32."""
        compute = self.compute if compute is None else compute
        return self.builder.op("Cast", x, to=ir.DataType.FLOAT) if compute == np.float16 else x

    def ensure(self, counts: Counter[str], weights: EncoderWeights) -> None:
        """Assert that every layer has its operators.

        ``counts`` are the operators up to the pooling; those after it are not checked.
        """
        layers, activation = self.spec.layers, self.activations[self.spec.activation]
        expected = Counter({self.fused_attention: layers, activation: layers})
        rms = self.spec.norm_kind == "rms"
        single, after_sum = ("ReduceMean",) * 2 if rms else ("LayerNormalization", self.fused_norm)
        expected[single] += weights.single_norms(self.spec.norm_first) + weights.second_norms()
        expected[after_sum] += 0 if self.spec.norm_first else 2 * layers
        for operator, number in expected.items():
            _expect(counts[operator] == number, f"{number} {operator}, so many in every layer", counts)
        integer = sum(counts[operator] for operator in self.integer_operators)
        names = [linear.name for linear in weights.products() if linear.name in self.plan.quantized]
        every = integer == len(names) and set(names) == set(self.plan.quantized)
        _expect(every, "an integer product wherever a matrix is quantized", counts)

    def quantized_product(self, x: ir.Value, linear: QuantizedLinear) -> ir.Value:
        """``x @ weight`` in integers, float32, without the bias."""
        return self._products(x, linear)


def _expect(condition: bool, what: str, counts: Counter[str]) -> None:
    if not condition:
        raise AssertionError(f"the graph was written wrongly: expected {what}; it has {dict(counts)}")
