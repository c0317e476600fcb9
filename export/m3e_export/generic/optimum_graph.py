"""Graphs by Optimum, for the families that it supports."""

from __future__ import annotations

import copy
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from m3e_export.errors import DependencyMissingError, UnsupportedModelError
from m3e_export.graph.builder import OPSET
from m3e_export.quiet import quiet

__all__ = ["check_optimum", "optimum_graph"]


def check_optimum() -> None:
    """Check early that :func:`optimum_graph` can run.

    Raises:
        DependencyMissingError: Optimum's exporter is missing.
    """
    found = importlib.util.find_spec("optimum")
    if found is None or importlib.util.find_spec("optimum.exporters.onnx") is None:
        raise DependencyMissingError(
            "--exporter optimum needs Optimum's exporter, in a separate environment: "
            "`pip install 'm3e-runtime[cpu,export,optimum]'`."
        )


def optimum_graph(model: Any, model_type: str) -> ir.Model:
    """Export ``model``, of transformers, as a feature extractor with Optimum.

    Raises:
        UnsupportedModelError: Optimum fails; the message quotes it.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    with tempfile.TemporaryDirectory() as folder:
        try:
            with quiet():
                onnx_export_from_model(
                    copy.deepcopy(model),  # Optimum changes its configuration
                    folder,
                    task="feature-extraction",
                    opset=OPSET,
                    do_validation=False,
                )
        except Exception as error:  # the model's code may raise anything
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UnsupportedModelError(
                f"model_type {model_type!r}: Optimum cannot export it: {lines[0]}"
            ) from error
        graph: ir.Model = ir.from_proto(onnx.load(str(Path(folder) / "model.onnx")))
        return graph
