"""A small layer over onnx-ir for writing graphs: operators return values, constants are shared."""

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
    """Collects nodes and initializers of one graph, new (:meth:`finish`) or given (:meth:`append_to`)."""

    def __init__(self, opset: int = OPSET) -> None:
        """``opset`` is that of a graph which there is already; a new one gets its own when it is closed."""
        self._opset = opset
        self._tape = tape.Tape()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._weights: dict[str, ir.Value] = {}

    def op(self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any) -> ir.Value:
        """Append a node with one output. Optional inputs at the end that are None are left out."""
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        return self._tape.op(op_type, inputs, attributes, domain=domain)

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int, domain: str = "", **attributes: Any
    ) -> list[ir.Value]:
        """Append a node with several outputs."""
        return list(self._tape.op_multi_out(op_type, inputs, attributes, domain=domain, num_outputs=outputs))

    def reduce(self, op_type: str, x: ir.Value, axis: int, keepdims: bool) -> ir.Value:
        """A reduction over one axis: an input for ReduceSum, and since opset 18 for the others too."""
        if op_type != "ReduceSum" and self._opset < _AXES_AS_INPUTS:
            return self.op(op_type, x, axes=[axis], keepdims=int(keepdims))
        return self.op(op_type, x, self.constant([axis], np.int64), keepdims=int(keepdims))

    def weight(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        """A named initializer, added once: layers that share weights ask for it again."""
        if name not in self._weights:
            self._weights[name] = self._tape.initializer(ir.tensor(np.ascontiguousarray(array), name=name))
        return self._weights[name]

    def constant(self, value: Any, dtype: Any) -> ir.Value:
        """A small constant; equal ones are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"const_{len(self._constants)}_{array.dtype.name}"
            self._constants[key] = self._tape.initializer(ir.tensor(array, name=name))
        return self._constants[key]

    def operators(self) -> Counter[str]:
        """How often each operator has been appended so far."""
        return Counter(node.op_type for node in self._tape.nodes)

    def finish(
        self, name: str, inputs: list[ir.Value], outputs: list[ir.Value], producer: str, opset: int = OPSET
    ) -> ir.Model:
        """Close the graph."""
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
        """Add what was collected to ``graph``, under names that it does not have yet, and put it in order."""
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
    """``name`` or the first of name_1, name_2 … that is not ``taken``; now it is."""
    names = (f"{name}_{number}" if number else name for number in itertools.count())
    found = next(each for each in names if each not in taken)
    taken.add(found)
    return found
