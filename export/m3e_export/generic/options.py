"""Rejecting options that the other exporters do not support."""

from __future__ import annotations

import dataclasses

from m3e_export.errors import OptionError
from m3e_export.request import ExportRequest

__all__ = ["check_options"]

_FLAGS = {
    "precisions": "--precision",
    "targets": "--target",
    "calibration": "--calibration",
    "oracle": "--oracle",
    "engine": "an option of TensorRT's engines",
    "revision": "--revision",
    "hub": "--hub",
    "graph": "--graph",
    "route": "--route",
}
_ONE_GRAPH = "it writes one graph, for ONNX Runtime on a CPU"
_AS_IT_IS = "the graph does not change"
_WRITTEN = {"targets": _ONE_GRAPH, "engine": _ONE_GRAPH, "graph": "it writes the graph itself"}
_REASONS: dict[str, dict[str, str]] = {
    "torch": _WRITTEN,
    "optimum": _WRITTEN,
    "given": {
        "targets": _ONE_GRAPH,
        "engine": _ONE_GRAPH,
        "precisions": _AS_IT_IS,
        "calibration": _AS_IT_IS,
        "oracle": "the graph is compared with the weights beside it, or with itself",
        "revision": "the graph is in a local folder",
        "hub": "the graph is in a local folder",
        "route": _AS_IT_IS,
    },
}


def check_options(request: ExportRequest) -> None:
    """Check that ``request.exporter``, torch, optimum or given, supports every option of ``request``.

    Raises:
        OptionError: an option is not supported; the message says why.
    """
    silent = ExportRequest(request.checkpoint, request.output)
    given = dataclasses.asdict(request)
    for name, reason in _REASONS[request.exporter].items():
        if given[name] != dataclasses.asdict(silent)[name]:
            raise OptionError(f"{_FLAGS[name]} is not for --exporter {request.exporter}: {reason}.")
    if request.oracle == "numpy":
        raise OptionError(
            f"--oracle numpy is not for --exporter {request.exporter}: it supports the "
            "built-in families only; use PyTorch for the others."
        )
    if request.calibration is not None and "int8" not in request.precisions:
        raise OptionError("--calibration is for --precision int8.")
