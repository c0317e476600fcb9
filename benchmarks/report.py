"""The results as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.workloads import SINGLE_LENGTHS

__all__ = ["write_table"]

_RIVALS = {
    "ours-int8": (
        "stock-int8-on-our-graph",
        "onnxruntime-dynamic-int8",
        "ours-int8-onnxruntime",
        "ctranslate2-int8",
        "openvino-nncf-int8",
    ),
    "ours-fp32": ("sentence-transformers", "onnxruntime-export", "ours-fp32-onnxruntime", "openvino-fp32"),
}
"""The native engine's artifacts, and who else computes in their precision, our graph on ONNX Runtime too."""


def write_table(results: dict[str, Any], file: Path, lengths: Sequence[int] = SINGLE_LENGTHS) -> None:
    """Write medians and their ratios to the baseline (above 1: faster than it)."""
    machine = results["machine"]
    lines = [
        f"{results['date']}, {machine['processor']} ({', '.join(machine['instruction_sets'])}), "
        f"{machine['cores']} cores{', quick' if results['quick'] else ''}. "
        "Random weights of the true shapes. "
        f"In parentheses: times as fast as {results['baseline']}, same run.",
        "",
    ]
    lines += _duels(results["runs"], lengths)
    for run in results["runs"]:
        lines += _table(run, results["baseline"], lengths)
    file.write_text("\n".join(lines), encoding="utf-8")


def _table(run: dict[str, Any], baseline: str, lengths: Sequence[int]) -> list[str]:
    lines = [
        f"**{run['shape']}, {_threads(run)}**",
        "",
        "| | "
        + " | ".join(f"{length} tokens, ms" for length in lengths)
        + " | corpus, tokens/s | cold start, s | peak MB | file MB | cosine |",
        "|---" * (len(lengths) + 6) + "|",
    ]
    reference = run["found"].get(baseline, {}).get("workloads", {})
    for name, found in run["found"].items():
        if "not_measured" in found:
            lines.append(
                f"| {name} | not measured: {found['not_measured']} " + "| " * (len(lengths) + 4) + "|"
            )
            continue
        cells = [_cell(workload, found, reference, run) for workload in found["workloads"]]
        cells += [
            f"{found['cold_start_s']:.2f}",
            f"{found['peak_memory'] / 1e6:.0f}",
            f"{found['size_bytes'] / 1e6:.0f}",
            f"{found.get('mean_cosine', float('nan')):.5f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _duels(runs: list[dict[str, Any]], lengths: Sequence[int]) -> list[str]:
    """The native engine against the fastest rival at each workload: above 1, it is faster than all."""
    lines = [
        "**The native engine against the fastest other engine in the same precision** (times as fast)",
        "",
        "| | " + " | ".join([f"{length} tokens" for length in lengths] + ["corpus"]) + " |",
        "|---" * (len(lengths) + 2) + "|",
    ]
    for name, run in ((name, run) for name in _RIVALS for run in runs):
        measured = {each: found["workloads"] for each, found in run["found"].items() if "workloads" in found}
        rivals = [measured[rival] for rival in _RIVALS[name] if rival in measured]
        if name not in measured or not rivals:
            continue
        ratios = [
            min(rival[workload]["median_s"] for rival in rivals) / own["median_s"]
            for workload, own in measured[name].items()
        ]
        cells = " | ".join(f"{ratio:.2f}×" for ratio in ratios)
        lines.append(f"| {name}, {run['shape']}, {_threads(run)} | {cells} |")
    return [*lines, ""]


def _threads(run: dict[str, Any]) -> str:
    return f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"


def _cell(workload: str, found: dict[str, Any], reference: dict[str, Any], run: dict[str, Any]) -> str:
    median = found["workloads"][workload]["median_s"]
    figure = f"{run['corpus_tokens'] / median:.0f}" if workload == "corpus" else f"{median * 1e3:.1f}"
    if workload not in reference:
        return figure
    return f"{figure} ({reference[workload]['median_s'] / median:.2f}×)"
