"""``python -m benchmarks.roofline``: where the time of one forward pass of the native engine goes.

Builds the engine with its roofline program (CMake and a C++ compiler are needed), runs it on m3e-base's shape
for every instruction set of this machine, and compares each part with what the processor could do at most:
the multiply-adds of a loop over registers, and the speed at which weights of this size can be read.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.checkpoints import make_checkpoint
from benchmarks.command import RESULTS, make_parser, results_head, write_results
from benchmarks.contestants.ours import NativeFp16, NativeFp32, NativeInt8
from benchmarks.engine_programs import build_program

_ROOT = Path(__file__).resolve().parents[1]
_PRECISIONS = {"int8": NativeInt8, "fp16": NativeFp16, "fp32": NativeFp32}


def main() -> None:
    """Entry point."""
    parser = make_parser("roofline", __doc__, shape="m3e-base", output=_ROOT / RESULTS)
    parser.add_argument("--tokens", nargs="+", type=int, default=[12, 32, 128, 512])
    parser.add_argument("--precisions", nargs="+", choices=list(_PRECISIONS), default=list(_PRECISIONS))
    options = parser.parse_args()
    program = build_program("roofline")
    results = results_head(options, "shape") | {"runs": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(Path(folder) / "checkpoint", options.shape)
        for precision in options.precisions:
            bundle = _PRECISIONS[precision].prepare(checkpoint, Path(folder) / precision)
            (artifact,) = bundle.rglob("*_native.safetensors")
            for name in tqdm(_instruction_sets(precision), desc=f"{options.shape} {precision}"):
                command = [program, artifact, name, *options.tokens]
                found = json.loads(subprocess.check_output([str(part) for part in command], text=True))
                results["runs"].append({"precision": precision, **found})
    stem = write_results(results, options.output, "roofline")
    stem.with_suffix(".md").write_text("\n".join(_table(results)), encoding="utf-8")
    _plot(results, stem.with_suffix(".png"))
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


def _instruction_sets(precision: str) -> list[str]:
    from m3e_runtime._native import instruction_sets

    names = [name for name in instruction_sets().split() if name != "portable"]
    # Without int8, sets that differ in integer products only have the same kernels.
    of_floats = {"fp16": ("avx512bf16", "avx512", "avx2", "neon"), "fp32": ("avx512", "avx2", "neon")}
    return names if precision == "int8" else [name for name in names if name in of_floats[precision]]


def _limits(run: dict[str, Any], part: dict[str, Any]) -> tuple[float, float]:
    """Milliseconds that the part's multiply-adds and its weights would take at the least."""
    speed = run["float_multiply_adds_per_s"]
    if run["precision"] == "int8" and part["name"].startswith("product"):
        speed = run["int8_multiply_adds_per_s"]
    elif (run["precision"], run["instruction_set"]) == ("fp16", "avx512bf16") and "product" in part["name"]:
        speed *= 2  # vdpbf16ps adds two products
    elif part["name"] == "attention in 16 bits":
        # VNNI adds four products of 8 bits, or two of 16. Tiles multiply bytes, of which each number has two.
        speed = run["int8_multiply_adds_per_s"] / (4 if run["instruction_set"] == "amx" else 2)
    return 1e3 * part["multiply_adds"] / speed, 1e3 * part["bytes"] / run["bytes_per_s"]


def _table(results: dict[str, Any]) -> list[str]:
    info = results["machine"]
    lines = [
        f"{results['date']}, {info['processor']} ({', '.join(info['instruction_sets'])}), one thread, "
        f"{results['shape']}'s shape. Medians, in milliseconds of one forward pass. Compute: what the "
        "multiply-adds would take in a loop over registers; memory: what reading the weights once would "
        "take; in parentheses the larger of the two as a share of the time.",
        "",
    ]
    for run in results["runs"]:
        peak = run["int8_multiply_adds_per_s" if run["precision"] == "int8" else "float_multiply_adds_per_s"]
        lines += [
            f"**{run['precision']}, {run['instruction_set']}**: {peak / 1e9:.0f} billion multiply-adds and "
            f"{run['bytes_per_s'] / 1e9:.0f} GB a second at most",
            "",
            "| | "
            + " | ".join(f"{each['tokens']} tokens | compute | memory" for each in run["passes"])
            + " |",
            "|---" + "|---:|---:|---:" * len(run["passes"]) + "|",
        ]
        for parts in zip(*(each["parts"] for each in run["passes"]), strict=True):
            lines.append(f"| {parts[0]['name']} | " + " | ".join(_cells(run, part) for part in parts) + " |")
        lines += ["| whole | " + " | ".join(_whole(run, each) for each in run["passes"]) + " |", ""]
    return lines


def _whole(run: dict[str, Any], each: dict[str, Any]) -> str:
    limits = [_limits(run, part) for part in each["parts"]]
    compute, memory = (sum(column) for column in zip(*limits, strict=True))
    return f"{each['ms']:.2f} ({max(compute, memory) / each['ms']:.0%}) | {compute:.2f} | {memory:.2f}"


def _cells(run: dict[str, Any], part: dict[str, Any]) -> str:
    compute, memory = _limits(run, part)
    if not compute and not memory:
        return f"{part['ms']:.3f} | |"
    share = max(compute, memory) / part["ms"]
    return f"{part['ms']:.3f} ({share:.0%}) | {compute:.3f} | {memory:.3f}"


def _plot(results: dict[str, Any], file: Path) -> None:
    """A panel for each number of tokens, a bar for each run, cut into parts; a mark where the limits end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = results["runs"]
    passes = len(runs[0]["passes"])
    figure, axes = plt.subplots(1, passes, figsize=(4.5 * passes, 0.45 * len(runs) + 2), squeeze=False)
    for index, axis in enumerate(axes[0]):
        for place, run in enumerate(runs):
            start = 0.0
            for color, part in enumerate(run["passes"][index]["parts"]):
                label = part["name"] if not place else None
                axis.barh(place, part["ms"], left=start, color=f"C{color}", label=label)
                start += part["ms"]
            least = sum(max(_limits(run, part)) for part in run["passes"][index]["parts"])
            axis.plot([least, least], [place - 0.4, place + 0.4], color="black")
        names = [f"{run['precision']} {run['instruction_set']}" for run in runs]
        axis.set_yticks(range(len(runs)), names if not index else [])
        axis.invert_yaxis()
        axis.set_title(f"{runs[0]['passes'][index]['tokens']} tokens, ms", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, fontsize=7, loc="lower center")
    figure.suptitle(f"One forward pass of {results['shape']}; black: compute and memory limits", fontsize=10)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
