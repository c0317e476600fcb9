"""Dense, sparse and multi-vectors in one pass beside dense vectors alone, in the native engine.

The weights are random and int8, in the shapes of XLM-R base and of bge-m3; the vocabulary is small. Both are
timed in turns on the same token ids, from ids to finished outputs:

    python -m benchmarks.token_outputs --shapes base bge-m3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from m3e_export.architectures import EncoderSpec, EncoderWeights, LayerWeights, Linear, Norm
from m3e_export.checkpoint.token_heads import TokenHeads, TokenLinear
from m3e_export.native import save_native
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.token_outputs import finish_tokens

_VOCABULARY = 4000
_SHAPES = {"base": (12, 768, 12), "bge-m3": (24, 1024, 16)}  # layers, width, heads
_LENGTH = 512


def main() -> None:
    """Measure and print each shape and length."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.token_outputs", description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=_SHAPES, default=list(_SHAPES))
    parser.add_argument("--lengths", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keeps the weights for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for shape in options.shapes:
            file = (options.folder or Path(temporary)) / f"{shape}.safetensors"
            heads = _write(*_SHAPES[shape], file)
            engine = NativeCpu(file, options.threads)
            for length in options.lengths:
                _measure(engine, heads, shape, length, options.rounds)


def _measure(engine: NativeCpu, heads: TokenHeads, shape: str, length: int, rounds: int) -> None:
    random = np.random.default_rng(0)
    texts = max(1, 1024 // length)
    token_ids = [random.integers(5, _VOCABULARY, length).astype(np.int32) for _ in range(texts)]
    given = heads.outputs()

    def everything() -> None:
        _, found = engine.run_outputs(token_ids)
        for ids, each in zip(token_ids, found, strict=True):
            finish_tokens(ids, each, given)

    def sparse() -> None:
        _, found = engine.run_outputs(token_ids, vectors=False)
        for ids, each in zip(token_ids, found, strict=True):
            finish_tokens(ids, each, given)

    runs: list[Callable[[], object]] = [lambda: engine.run(token_ids), everything, sparse]
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if turn:
                found.append(time.perf_counter() - start)
    dense, all_three, two = map(statistics.median, times)
    print(
        f"{shape}, {texts} texts of {length} tokens, {engine.threads} threads, {engine.instruction_set}: "
        f"dense {dense * 1e3:.1f} ms; all three {all_three / dense:.3f} x; "
        f"dense and sparse {two / dense:.3f} x",
        flush=True,
    )


def _write(layers: int, hidden: int, heads: int, file: Path) -> TokenHeads:
    random = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (0.02 * random.standard_normal(shape)).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> Linear:
        return Linear(name, matrix(inputs, outputs), matrix(outputs))

    def norm(name: str) -> Norm:
        return Norm(name, np.ones(hidden, np.float32), matrix(hidden))

    token_heads = TokenHeads(
        TokenLinear(matrix(hidden, 1), matrix(1)),
        TokenLinear(matrix(hidden, hidden), matrix(hidden)),
        (0, 2),
        True,
    )
    if file.exists():
        return token_heads
    weights = EncoderWeights(
        matrix(_VOCABULARY, hidden),
        matrix(_LENGTH + 1, hidden),
        norm("embeddings"),
        tuple(
            LayerWeights(
                linear(f"layer.{index}.qkv", hidden, 3 * hidden),
                linear(f"layer.{index}.attention_output", hidden, hidden),
                norm("attention"),
                linear(f"layer.{index}.intermediate", hidden, 4 * hidden),
                linear(f"layer.{index}.output", 4 * hidden, hidden),
                norm("output"),
            )
            for index in range(layers)
        ),
    )
    spec = EncoderSpec(
        "xlm-roberta", layers, hidden, hidden, heads, 4 * hidden, "gelu", _VOCABULARY, _LENGTH, 1e-5, 1, True
    )
    quantized = {each.name: quantize_linear(each, together=4) for each in weights.linears()}
    save_native(spec, weights, PrecisionPlan(quantized=quantized), "cls", True, file, token_heads=token_heads)
    return token_heads


if __name__ == "__main__":
    main()
