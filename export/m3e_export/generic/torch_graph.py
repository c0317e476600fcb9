"""Graphs by torch.onnx, for every model that PyTorch can trace."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from m3e_export.errors import DependencyMissingError, UnsupportedModelError
from m3e_export.graph.builder import OPSET
from m3e_export.quiet import quiet

__all__ = ["check_torch", "torch_graph"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_TEXTS, _LENGTH = 2, 8  # of the example; torch.export would take 1 for a fixed size


def check_torch() -> None:
    """Check early that :func:`torch_graph` can run.

    Raises:
        DependencyMissingError: a package is missing.
    """
    packages = ("torch", "transformers", "onnxscript")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyMissingError(
            f"--exporter torch needs {', '.join(missing)}: `pip install 'm3e-runtime[export,torch]'`."
        )


def torch_graph(model: Any, model_type: str) -> ir.Model:
    """Trace ``model``, of transformers, for batches of any size and length.

    Returns:
        A graph from ``input_ids`` and ``attention_mask`` to ``last_hidden_state``. Products with a weight are
        named after their module.

    Raises:
        UnsupportedModelError: torch.onnx fails; the message quotes it.
    """
    import torch

    ids = torch.ones((_TEXTS, _LENGTH), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, _LENGTH // 2 :] = 0
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                _states_alone(torch, model),
                (ids, mask),
                input_names=["input_ids", "attention_mask"],
                output_names=["last_hidden_state"],
                dynamic_shapes=(free, free),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the model's code may raise anything
        raise UnsupportedModelError(
            f"model_type {model_type!r}: torch.onnx {torch.__version__} cannot export it: {_cause(error)}"
        ) from error
    graph: ir.Model = program.model
    _name_products(graph.graph)
    ClearMetadataAndDocStringPass()(graph)  # it contains paths of this machine
    return graph


def _states_alone(torch: Any, model: Any) -> Any:
    """``model`` with two tensors as inputs and one as output."""

    class StatesAlone(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
            return found.last_hidden_state

    return StatesAlone().eval()


def _name_products(graph: ir.Graph) -> None:
    """Name products with a weight after their module, such as ``encoder.layer.0.output.dense``."""
    seen: Counter[str] = Counter()
    for node in graph:
        scopes = node.metadata_props.get(_SCOPES)
        if scopes is None or not any(value is not None and value.is_initializer() for value in node.inputs):
            continue
        modules = ast.literal_eval(scopes)[:-1]  # the last one is the operation
        if node.op_type in ("MatMul", "Gemm") and modules:
            module = str(modules[-1]).removeprefix("model.")
            seen[module] += 1
            node.name = module if seen[module] == 1 else f"{module}.{seen[module]}"


def _cause(error: BaseException) -> str:
    """The first line of the innermost error. The outer ones describe the exporter's steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
