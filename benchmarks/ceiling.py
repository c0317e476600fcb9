"""What a device can do at most, and what a model asks of it.

``python -m benchmarks.ceiling DEVICE`` prints, as JSON, the speed of one large matrix product in float16.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["measure", "model_flops"]

_SIZE, _SIZE_CPU = 8192, 512
_ROUNDS, _PRODUCTS = 10, 10


def model_flops(sizes: dict[str, int], lengths: Sequence[int]) -> int:
    """Operations of one forward pass over texts of these lengths, padding left out.

    Two for each token and weight of a matrix, and in each layer ``4 · hidden · length²`` for the two products
    of attention. Embeddings are looked up, norms and activations are left out.
    """
    hidden = sizes["hidden"]
    weights = sizes["layers"] * (4 * hidden**2 + 2 * hidden * sizes["intermediate"])
    attention = 4 * hidden * sizes["layers"]
    return 2 * weights * sum(lengths) + attention * sum(length**2 for length in lengths)


def measure(device: str) -> dict[str, Any]:
    """The best of several, in a process of its own, so that no memory stays taken; or why there is none."""
    command = [sys.executable, "-m", "benchmarks.ceiling", device]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"not_measured": said[-1] if said else f"status {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _main() -> None:
    import torch

    device = sys.argv[1]
    size = _SIZE if device != "cpu" else _SIZE_CPU
    a, b = (torch.randn(size, size, device=device).to(torch.float16) for _ in range(2))
    out = torch.empty_like(a)
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_PRODUCTS):
            torch.matmul(a, b, out=out)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / _PRODUCTS)
    print(json.dumps({"dtype": "float16", "size": size, "flops_per_s": 2 * size**3 / min(seconds)}))


if __name__ == "__main__":
    _main()
