"""The results on a GPU as a Markdown table."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

__all__ = ["write_table"]

_QUERIES = ("12 tokens", "32 tokens")
_WORKLOADS = (*_QUERIES, "1 × 128 tokens", "32 × 64 tokens", "corpus")
_COLUMNS = (
    *(f"{query}, {figure} ms" for query in _QUERIES for figure in ("median", "p99")),
    "1 × 128 tokens, ms",
    "32 × 64 tokens, ms",
    "of the ceiling",
    "corpus, tokens/s",
    "of the ceiling",
    "mean cosine",
    "worst",
    "GPU MB",
    "cold start, s",
)
_RIGHT = 0.99  # whoever has a worse cosine is no rival: its vectors are wrong
_REHEARSAL = (
    "# REHEARSAL ON A CPU\n\nNo figure below means anything: this ran without a GPU, on a tiny model, to see "
    "that the benchmark works.\n"
)


def write_table(results: dict[str, Any], file: Path) -> None:
    """Write times and their ratios to the baseline (above 1: faster than it)."""
    lines = [_REHEARSAL] if results["rehearsal"] else []
    lines += [_machine(results), ""]
    for run in results["runs"]:
        lines += [*_table(run, results["baseline"]), *_duel(run)]
    file.write_text("\n".join(lines), encoding="utf-8")


def _machine(results: dict[str, Any]) -> str:
    machine, gpu = results["machine"], results["machine"]["gpu"] or {}
    card = [gpu.get("name", "no GPU")]
    if gpu:
        card.append(f"compute capability {gpu['compute_capability']}")
    if gpu.get("driver"):
        card += [f"{gpu['memory_mb'] or 0:.0f} MB", f"driver {gpu['driver']}"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{results['date']}, {', '.join(card)}; {machine['processor']}, {machine['cores']} cores"
        f"{', quick' if results['quick'] else ''}. {packages}. Random weights of the true shapes. Texts in, "
        "float32 vectors in the host's memory out, tokenization included. In parentheses: times as fast as "
        f"{results['baseline']}, same run. Cosines with {results['reference']}; of random weights they show "
        "that the arithmetic is right, not how well int8 keeps a ranking."
    )


def _table(run: dict[str, Any], baseline: str) -> list[str]:
    lines = [
        f"**{run['shape']}**, {_ceiling(run['ceiling'])}{_unrelated(run['unrelated_cosine'])}",
        "",
        "| | " + " | ".join(_COLUMNS) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
    ]
    reference = run["found"].get(baseline, {}).get("workloads", {})
    for name, found in run["found"].items():
        if "not_measured" in found:
            reason = found["not_measured"].replace("|", "\\|")
            lines.append(f"| {name} | not measured: {reason} " + "| " * (len(_COLUMNS) - 1) + "|")
        else:
            lines.append(f"| {name} | " + " | ".join(_cells(found, reference, run["corpus_tokens"])) + " |")
    return [*lines, ""]


def _ceiling(found: dict[str, Any]) -> str:
    if "not_measured" in found:
        return f"ceiling not measured: {found['not_measured']}"
    speed, size = found["flops_per_s"] / 1e12, found["size"]
    return f"ceiling {speed:.3g} TFLOP/s (one {found['dtype']} product of {size}×{size})"


def _unrelated(cosine: float | None) -> str:
    return "" if cosine is None else f"; two different texts have a cosine of {cosine:.3f}"


def _cells(found: dict[str, Any], reference: dict[str, Any], corpus_tokens: int) -> list[str]:
    times, memory = found["workloads"], found.get("gpu_memory")

    def cell(workload: str, figure: str = "median_s") -> str:
        seconds = times[workload][figure]
        value = f"{corpus_tokens / seconds:.0f}" if workload == "corpus" else f"{seconds * 1e3:.2f}"
        return f"{value} ({reference[workload][figure] / seconds:.2f}×)" if reference else value

    def share(workload: str) -> str:
        return f"{times[workload]['ceiling_share']:.0%}" if "ceiling_share" in times[workload] else "–"

    return [
        *(cell(query, figure) for query in _QUERIES for figure in ("median_s", "p99_s")),
        cell("1 × 128 tokens"),
        cell("32 × 64 tokens"),
        share("32 × 64 tokens"),
        cell("corpus"),
        share("corpus"),
        *(f"{found[c]:.6f}" if c in found else "–" for c in ("mean_cosine", "min_cosine")),
        f"{memory / 1e6:.0f}" if memory else "–",
        f"{found['cold_start_s']:.2f}",
    ]


def _duel(run: dict[str, Any]) -> list[str]:
    """Our fastest of each precision against the fastest peer: above 1, it is faster than all of them."""
    measured = {
        name: found["workloads"]
        for name, found in run["found"].items()
        if "workloads" in found and found.get("min_cosine", 1.0) >= _RIGHT
    }
    peers = [name for name in measured if not name.startswith("ours")]
    lines = ["| | our fastest | fastest peer | times as fast |", "|---|---|---|---|"]
    for precision, workload in itertools.product(("fp16", "int8"), _WORKLOADS):
        ours = [name for name in measured if name.startswith("ours") and name.endswith(precision)]
        if not ours or not peers:
            continue
        own, peer = (_fastest(measured, names, workload) for names in (ours, peers))
        ratio = measured[peer][workload]["median_s"] / measured[own][workload]["median_s"]
        lines.append(f"| {workload} | {own} | {peer} | {ratio:.2f}× |")
    return [*lines, ""] if len(lines) > 2 else []


def _fastest(measured: dict[str, Any], names: list[str], workload: str) -> str:
    return min(names, key=lambda name: measured[name][workload]["median_s"])
