"""``python -m benchmarks.offline.first_vector``: whether the CUDA provider loads, and the first cosines.

If it does not load, the message of the system's loader is the result. Each text is encoded three times: as it
comes, recorded, and replayed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkpoints import REHEARSAL
from benchmarks.contestants import Contestant, Place, load
from benchmarks.kept_models import kept_models
from benchmarks.offline.names import OURS, SMALL
from benchmarks.workloads import single

__all__ = ["describe_library", "unit_rows"]

_LENGTHS = (12, 32, 128)
_RUNS = 3


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.first_vector", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder that keeps the bundles")
    parser.add_argument("--output", type=Path, required=True, help="file for the result, as JSON")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    options = parser.parse_args()
    result: dict[str, Any] = {"rehearsal": options.device == "cpu", "library": describe_library()}
    print(json.dumps(result["library"], indent=1), flush=True)
    result["contestants"] = _compare(options.models, REHEARSAL if options.device == "cpu" else SMALL)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["contestants"], indent=1))
    works = any("min_cosine" in each for each in result["contestants"].values())
    sys.exit(0 if works or result["rehearsal"] else 1)


def describe_library() -> dict[str, Any]:
    """Which ONNX Runtime is imported, what it offers, and what the loader says of its CUDA provider."""
    import onnxruntime
    from onnxruntime.capi import build_and_package_info as built

    with contextlib.redirect_stdout(io.StringIO()) as said:
        getattr(onnxruntime, "preload_dlls", lambda: None)()
    return {
        "package": built.package_name,
        "version": onnxruntime.__version__,
        "cuda": getattr(built, "cuda_version", None),
        "providers": onnxruntime.get_available_providers(),
        "libraries_not_found": [line for line in said.getvalue().splitlines() if line.startswith("Failed")],
        "loader": _load_provider(Path(onnxruntime.__file__).parent / "capi"),
    }


def _load_provider(folder: Path) -> str:
    """What the loader says; ONNX Runtime logs it and goes on without the provider."""
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error).replace(str(folder), "…")
    return "loaded"


def _compare(models: Path, shape: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    reference = None
    for name, model in kept_models(list(OURS), shape, models).items():
        try:
            if isinstance(model, str):
                raise RuntimeError(model)
            contestant = load(name)(model, Place("cuda"))
            reference = _reference(models / shape / "checkpoint") if reference is None else reference
            found[name] = _judge(contestant, reference)
        except Exception as error:  # whatever it is, it is the result
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def _reference(checkpoint: Path) -> np.ndarray:
    """Unit vectors of sentence-transformers in float32 on the CPU."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    return unit_rows(model.encode([single(length) for length in _LENGTHS], show_progress_bar=False))


def _judge(contestant: Contestant, reference: np.ndarray) -> dict[str, Any]:
    cosines = [
        float((unit_rows(contestant.encode([single(length)])) * reference[row]).sum())
        for row, length in enumerate(_LENGTHS)
        for _ in range(_RUNS)
    ]
    return {"min_cosine": min(cosines), "cosines": cosines, **contestant.details([])}


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, in float64."""
    wide = np.asarray(vectors, dtype=np.float64)
    scaled: np.ndarray = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return scaled


if __name__ == "__main__":
    if find_spec("onnxruntime") is None:
        sys.exit(
            "error: there is no onnxruntime: join the parts first, and put the target first in PYTHONPATH."
        )
    main()
