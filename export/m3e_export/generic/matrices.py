"""Finding the constant matrices of a graph and their products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateHashedInitializersPass, LiftConstantsToInitializersPass

from m3e_export.architectures import Activation, Linear
from m3e_export.precision.activations import SHIFTS

__all__ = ["Matrix", "find_matrices", "normalized"]


@dataclass(frozen=True)
class Matrix:
    """A constant matrix and the nodes that multiply by it: several if layers share weights.

    The bias of ``linear`` is zero: additions after the product stay in the graph.
    """

    linear: Linear
    nodes: tuple[ir.Node, ...]

    @property
    def shift(self) -> float | None:
        """The constant that makes all inputs non-negative, if they come from activations; else None."""
        activations = [_activation_before(node) for node in self.nodes]
        shifts = [SHIFTS[activation] for activation in activations if activation is not None]
        return max(shifts) if len(shifts) == len(activations) else None


def normalized(model: ir.Model) -> ir.Model:
    """``model`` with every weight as an initializer, and equal weights merged."""
    LiftConstantsToInitializersPass()(model)
    for value in model.graph.initializers.values():
        if value.const_value is not None:  # a view, if an exporter has folded a transposition
            array = np.asarray(value.const_value.numpy(), order="C")
            value.const_value = ir.tensor(array, name=value.name)
    DeduplicateHashedInitializersPass(size_limit=1 << 40)(model)
    return model


def find_matrices(graph: ir.Graph) -> list[Matrix]:
    """The matrices in the order of their first product, with unique names.

    Products of constants are left out: they are computed once, when the graph is loaded.
    """
    nodes: dict[tuple[ir.Value, bool], list[ir.Node]] = {}
    for node in _depending_on_inputs(graph):
        weight = _weight_of(node)
        if weight is not None:
            nodes.setdefault((weight, _attribute(node, "transB", 0) != 0), []).append(node)
    names: Counter[str] = Counter()
    found = []
    for (weight, turned), users in nodes.items():
        name = _name_of(users[0])
        names[name] += 1
        name = name if names[name] == 1 else f"{name}.{names[name]}"
        found.append(Matrix(_linear(name, weight, turned), tuple(users)))
    return found


def _linear(name: str, weight: ir.Value, turned: bool) -> Linear:
    assert weight.const_value is not None  # noqa: S101 - _weight_of guarantees it
    array = weight.const_value.numpy()
    array = np.ascontiguousarray(array.T) if turned else array
    return Linear(name, array, np.zeros(array.shape[1], np.float32))


def _depending_on_inputs(graph: ir.Graph) -> Iterator[ir.Node]:
    variable = set(graph.inputs)
    for node in graph:
        if any(value in variable for value in node.inputs):
            variable.update(node.outputs)
            yield node


def _weight_of(node: ir.Node) -> ir.Value | None:
    """The constant float32 matrix on the right of the product ``node``, or None."""
    if node.domain or node.op_type not in ("MatMul", "Gemm"):
        return None
    scaled = any(_attribute(node, name, 1.0) != 1.0 for name in ("alpha", "beta"))
    if scaled or _attribute(node, "transA", 0):
        return None
    weight = node.inputs[1]
    if weight is None or not weight.is_initializer() or weight.const_value is None:
        return None
    tensor = weight.const_value
    return weight if tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) == 2 else None


def _activation_before(node: ir.Node) -> Activation | None:
    """The activation that computes the input of ``node``, or None."""
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    if before is None or before.op_type not in ("Gelu", "Relu"):
        return None
    if before.op_type == "Relu":
        return "relu"
    kind = before.attributes.get("approximate")
    return "gelu_tanh" if kind is not None and kind.value == "tanh" else "gelu"


def _attribute(node: ir.Node, name: str, default: float) -> float:
    found = node.attributes.get(name)
    return default if found is None else float(found.value)


def _name_of(node: ir.Node) -> str:
    """The name of the node's module. Optimum's nodes are called ``/encoder/layer.0/output/dense/MatMul``."""
    return str(node.name).strip("/").removesuffix(f"/{node.op_type}").replace("/", ".")
