"""``python -m benchmarks.offline.profiling``: launches and kernels of a query and of a corpus batch.

PyTorch's profiler sees what the whole process does on a GPU, ours included. ONNX Runtime's own profile says
on which provider each operator runs: one on the CPU in the middle would forbid recording.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import REHEARSAL, SHAPES
from benchmarks.contestants import GPU_CONTESTANTS, Contestant, Place, load
from benchmarks.kept_models import kept_models
from benchmarks.offline.names import BASE, OURS
from benchmarks.offline.traces import operators_of, summarize
from benchmarks.workloads import corpus, single
from m3e_runtime.gpu import onnxruntime_backend

__all__ = ["profile"]

_WARM = 4
_CALLS = {"query": 20, "batch": 5}
_BATCH_TEXTS, _BATCH_TEXTS_CPU = 340, 8  # the first are about 16384 tokens, the budget of a run


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.profiling", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder that keeps the bundles")
    parser.add_argument("--output", type=Path, help="file for the result, as JSON")
    parser.add_argument("--shape", choices=[*SHAPES, REHEARSAL])
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=list(GPU_CONTESTANTS),
        default=[*OURS, "torch-fp16-unpadded"],
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    parser.add_argument("--bare", action="store_true", help="only run the batch, under another profiler")
    options = parser.parse_args()
    shape = options.shape or (REHEARSAL if options.device == "cpu" else BASE)
    result: dict[str, Any] = {"rehearsal": options.device == "cpu", "shape": shape, "contestants": {}}
    for name, model in kept_models(options.contestants, shape, options.models).items():
        try:
            if isinstance(model, str):
                raise RuntimeError(model)
            run = _run_bare if options.bare else profile
            result["contestants"][name] = run(name, model, options.device)
        except Exception as error:  # the others are worth their profile
            result["contestants"][name] = {"not_measured": f"{type(error).__name__}: {error}"}
    text = json.dumps(result, indent=1)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)


def profile(name: str, model: Path, device: str) -> dict[str, Any]:
    """Figures of a query and of a batch, and where ours runs its operators."""
    with _profiler(device):
        pass  # it sees the kernels of a graph only if it was there when the graph was recorded
    contestant = load(name)(model, Place(device))
    found: dict[str, Any] = {
        workload: _trace(contestant, texts, _CALLS[workload], device)
        for workload, texts in _workloads(device).items()
    }
    if name.startswith("ours"):
        found["operators"] = _operators(name, model)
    return found


def _workloads(device: str) -> dict[str, list[str]]:
    return {"query": [single(12)], "batch": corpus(_BATCH_TEXTS if device == "cuda" else _BATCH_TEXTS_CPU)}


def _run_bare(name: str, model: Path, device: str) -> dict[str, Any]:
    contestant = load(name)(model, Place(device))
    for _ in range(2):
        contestant.encode(_workloads(device)["batch"])
    return {}


def _trace(contestant: Contestant, texts: list[str], calls: int, device: str) -> dict[str, Any]:
    for _ in range(_WARM):
        contestant.encode(texts)
    start = time.perf_counter()
    for _ in range(calls):
        contestant.encode(texts)
    seconds = (time.perf_counter() - start) / calls  # without the profiler, which slows launches down
    with _profiler(device) as profiled:
        for _ in range(calls):
            contestant.encode(texts)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    return {"seconds": seconds, **summarize(events, calls)}


def _profiler(device: str) -> Any:
    import torch
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    return torch.profiler.profile(activities=activities)


def _operators(name: str, model: Path) -> dict[str, dict[str, int]]:
    """Operators by provider in the first run of a query, which is not recorded yet."""
    with tempfile.TemporaryDirectory() as folder, _profiled_sessions(str(Path(folder) / "run")):
        contestant: Any = load(name)(model, Place("cuda"))
        contestant.encode([single(12)])
        file = Path(contestant._encoder._backend._session.end_profiling())
        return operators_of(json.loads(file.read_text(encoding="utf-8")))


@contextmanager
def _profiled_sessions(prefix: str) -> Iterator[None]:
    """Sessions that our backend opens meanwhile write a profile."""
    library = onnxruntime_backend.load_onnxruntime()
    plain = library.SessionOptions

    def profiled() -> Any:
        options = plain()
        options.enable_profiling = True
        options.profile_file_prefix = prefix
        return options

    library.SessionOptions = profiled
    try:
        yield
    finally:
        library.SessionOptions = plain


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    os.environ.setdefault("TEARDOWN_CUPTI", "0")  # else a profiler's end forgets the graphs recorded under it
    main()
