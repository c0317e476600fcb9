"""A small layer over onnx-ir: operators return values, and equal constants are shared."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir import tape

__all__ = ["MICROSOFT", "OPSET", "GraphBuilder"]

MICROSOFT = "com.microsoft"
OPSET = 20  # the first with Gelu; LayerNormalization is there since 17
_AXES_AS_INPUTS = 18
_IR_VERSIONS = {20: 10, 23: 11}


class GraphBuilder:
    """The nodes and initializers of a new graph (:meth:`finish`) or an existing one (:meth:`append_to`)."""

    def __init__(self, opset: int = OPSET) -> None:
        """``opset`` is that of the existing graph. A new graph gets its opset in :meth:`finish`."""
        self._opset = opset
        self._tape = tape.Tape()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._weights: dict[str, ir.Value] = {}

    def op(self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any) -> ir.Value:
        """Append a node with one output. Trailing inputs that are None are left out."""
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        return self._tape.op(op_type, inputs, attributes, domain=domain)

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int, domain: str = "", **attributes: Any
    ) -> list[ir.Value]:
        """Append a node with several outputs."""
        return list(self._tape.op_multi_out(op_type, inputs, attributes, domain=domain, num_outputs=outputs))

    def reduce(self, op_type: str, x: ir.Value, axis: int, keepdims: bool) -> ir.Value:
        """A reduction over one axis. It is an input of ReduceSum, and since opset 18 of all others."""
        if op_type != "ReduceSum" and self._opset < _AXES_AS_INPUTS:
            return self.op(op_type, x, axes=[axis], keepdims=int(keepdims))
        return self.op(op_type, x, self.constant([axis], np.int64), keepdims=int(keepdims))

    def weight(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        """A named initializer. It is added once, also if layers share it."""
        if name not in self._weights:
            self._weights[name] = self._tape.initializer(ir.tensor(np.ascontiguousarray(array), name=name))
        return self._weights[name]

    def constant(self, value: Any, dtype: Any) -> ir.Value:
        """A small constant. Equal constants are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"const_{len(self._constants)}_{array.dtype.name}"
            self._constants[key] = self._tape.initializer(ir.tensor(array, name=name))
        return self._constants[key]

    def operators(self) -> Counter[str]:
        """The number of nodes of each operator so far."""
        return Counter(node.op_type for node in self._tape.nodes)

    def finish(
        self, name: str, inputs: list[ir.Value], outputs: list[ir.Value], producer: str, opset: int = OPSET
    ) -> ir.Model:
        """Build the model."""
        nodes = list(self._tape.nodes)
        for index, node in enumerate(nodes):
            node.name = f"{node.op_type}_{index}"
        imports = {"": opset, **{node.domain: 1 for node in nodes if node.domain}}
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=nodes,
            initializers=list(self._tape.initializers),
            opset_imports=imports,
            name=name,
        )
        return ir.Model(graph, ir_version=_IR_VERSIONS[opset], producer_name=producer)

    def append_to(self, graph: ir.Graph) -> None:
        """Add the nodes and initializers to ``graph`` under unused names, and sort its nodes."""
        nodes, initializers = list(self._tape.nodes), list(self._tape.initializers)
        taken = {value.name for value in (*graph.inputs, *graph.initializers.values())}
        taken |= {value.name for node in graph for value in node.outputs}
        named = {node.name for node in graph}
        for value in initializers:
            value.name = _free(str(value.name), taken)
            graph.register_initializer(value)
        for node in nodes:
            for value in node.outputs:
                value.name = value.name or _free(node.op_type.lower(), taken)
            node.name = _free(str(node.outputs[0].name), named)
        graph.extend(nodes)
        graph.sort()
        graph.opset_imports.update({node.domain: 1 for node in nodes if node.domain})


def _free(name: str, taken: set[str | None]) -> str:
    """Take the first of name, name_1, name_2 … that is not in ``taken``."""
    names = (f"{name}_{number}" if number else name for number in itertools.count())
    found = next(each for each in names if each not in taken)
    taken.add(found)
    return found
