"""What the traces of PyTorch's profiler and of ONNX Runtime's say: launches, kernels, operators."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

__all__ = ["operators_of", "summarize"]

_KERNEL_LAUNCH = re.compile(r"cu(da)?Launch(Cooperative)?Kernel(Ex)?(C)?(_v\d+)?|cu(da)?LaunchKernelExC")
_GRAPH_LAUNCH = re.compile(r"cu(da)?GraphLaunch(_v\d+)?")
_API = ("cuda_runtime", "cuda_driver")
_COPIES = ("gpu_memcpy", "gpu_memset")
_MOST = 20


def summarize(events: Iterable[dict[str, Any]], calls: int) -> dict[str, Any]:
    """Figures for one call, from the ``traceEvents`` of a trace of ``calls`` calls.

    Returns:
        ``kernel_launches`` and ``graph_launches`` that the host made, ``kernels`` that ran and ``copies``;
        ``gpu_s``, the sum of the kernels' times; ``top``: the kernels that took most, each with its share of
        that sum. All counts are 0 where the profiler saw no GPU.
    """
    launches: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    copies, copy_seconds = 0, 0.0
    for event in events:
        if event.get("ph") != "X":
            continue
        kind, name, took = event.get("cat"), event["name"], event.get("dur", 0) / 1e6
        if kind == "kernel":
            seconds[name] += took
            counts[name] += 1
        elif kind in _COPIES:
            copies += 1
            copy_seconds += took
        elif kind in _API:
            launches["kernel"] += bool(_KERNEL_LAUNCH.fullmatch(name))
            launches["graph"] += bool(_GRAPH_LAUNCH.fullmatch(name))
    whole = sum(seconds.values())
    return {
        "kernel_launches": launches["kernel"] / calls,
        "graph_launches": launches["graph"] / calls,
        "kernels": sum(counts.values()) / calls,
        "copies": copies / calls,
        "gpu_s": whole / calls,
        "copies_s": copy_seconds / calls,
        "top": [
            {"name": name, "share": took / whole, "seconds": took / calls, "count": counts[name] / calls}
            for name, took in seconds.most_common(_MOST)
        ],
    }


def operators_of(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How many operators ran on which provider, from a profile that ONNX Runtime wrote of one run."""
    found: dict[str, Counter[str]] = {}
    for event in events:
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and "op_name" in arguments:
            provider = arguments.get("provider", "unknown")
            found.setdefault(provider, Counter())[arguments["op_name"]] += 1
    return {provider: dict(counted.most_common()) for provider, counted in found.items()}
