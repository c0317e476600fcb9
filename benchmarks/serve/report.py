"""The results as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.serve.servers import OURS

__all__ = ["write_plot", "write_table"]

_BARE = "encode"
_ENOUGH = 100  # requests, for a 99th percentile


def write_table(results: dict[str, Any], file: Path) -> None:
    """Write what each server adds, its throughput and its latency under load."""
    machine = results["machine"]
    lines = [
        f"{results['date']}, {machine['processor']} ({', '.join(machine['instruction_sets'])}), "
        f"{machine['cores']} cores, {results['threads']} thread(s) for each engine"
        f"{', quick' if results['quick'] else ''}. Random weights of the true shapes; ours in int8, the "
        "others in float32. Clients run on the same machine.",
        "",
    ]
    for run in results["runs"]:
        lines += [*_one_client(run), *_saturation(run), *_load(run)]
        lines += [f"{name}: not measured, {why}." for name, why in run["not_measured"].items()]
        lines.append("")
    file.write_text("\n".join(lines), encoding="utf-8")


def write_plot(results: dict[str, Any], file: Path) -> None:
    """Latency against the rate of arrivals, one panel a shape: median, and 99th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = results["runs"]
    figure, axes = plt.subplots(1, len(runs), figsize=(6 * len(runs), 4.2), squeeze=False)
    for axis, run in zip(axes[0], runs, strict=True):
        for index, (name, points) in enumerate(run["load"].items()):
            for quantile, line, least in (("p50", "o-", 1), ("p99", "o--", _ENOUGH)):
                shown = [point for point in points if point.get("calls", 0) >= least]
                axis.plot(
                    [point["rate"] for point in shown],
                    [1e3 * point[f"{quantile}_s"] for point in shown],
                    line,
                    color=f"C{index}",
                    label=f"{name}, {quantile}",
                )
        axis.set(xscale="log", yscale="log", xlabel="requests a second", ylabel="milliseconds")
        axis.set_title(f"{run['shape']}, texts of {run['mean_tokens']:.0f} tokens on average", fontsize=9)
        axis.grid(which="both", linewidth=0.3)
        axis.legend(fontsize=7)
    figure.suptitle(f"Poisson arrivals · {results['machine']['processor']}", fontsize=10)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _one_client(run: dict[str, Any]) -> list[str]:
    bare = run["one_client"][_BARE]["p50_s"]
    lines = [
        f"**{run['shape']}: one client, a query of 12 tokens** (`Encoder.encode` in its own process takes "
        f"{1e3 * bare:.2f} ms at the median)",
        "",
        "| | median, ms | p99, ms | more than the bare encoder, ms | cosine with ours |",
        "|---|---|---|---|---|",
    ]
    for name, found in run["one_client"].items():
        if name != _BARE:
            cells = [found["p50_s"], found["p99_s"], found["p50_s"] - bare]
            figures = " | ".join(f"{1e3 * each:.2f}" for each in cells)
            lines.append(f"| {name} | {figures} | {run['cosine'][name]:.4f} |")
    return [*lines, ""]


def _saturation(run: dict[str, Any]) -> list[str]:
    sizes = list(run["saturation"])
    lines = [
        f"**{run['shape']}: saturation**, tokens/s; in parentheses the share of the bare encoder that ours "
        "reaches, and how many times as much as each of the others",
        "",
        "| | " + " | ".join(f"{size} text(s) a request" for size in sizes) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for name in run["saturation"][sizes[0]]:
        lines.append(f"| {name} | " + " | ".join(_rate(run["saturation"][s], name) for s in sizes) + " |")
    return [*lines, ""]


def _rate(found: dict[str, Any], name: str) -> str:
    rate, bare, ours = (found[each]["tokens_per_second"] for each in (name, _BARE, OURS))
    if rate is None:
        return "too few answers"
    if name == _BARE:
        return f"{rate:.0f}"
    if name == OURS:
        return f"{rate:.0f} ({rate / bare:.1%})"
    return f"{rate:.0f} ({ours / rate:.1f}×)" if rate else "0"


def _load(run: dict[str, Any]) -> list[str]:
    lines = [
        f"**{run['shape']}: Poisson arrivals**, single texts of {run['mean_tokens']:.0f} tokens on average; "
        "the load is in parts of the same server's saturation; a 99th percentile needs 100 requests",
        "",
        "| | load | requests/s | requests | median, ms | p95, ms | p99, ms | p99 / median | not answered |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, points in run["load"].items():
        for point in points:
            lost = sum(point["not_answered"].values())
            cells = [f"{point['load']:.0%}", f"{point['rate']:.1f}", str(point["requests"])]
            if "p50_s" in point:
                cells += [f"{1e3 * point[each]:.1f}" for each in ("p50_s", "p95_s")]
            if point.get("calls", 0) >= _ENOUGH:
                cells += [f"{1e3 * point['p99_s']:.1f}", f"{point['p99_s'] / point['p50_s']:.1f}"]
            cells += [""] * (7 - len(cells))
            lines.append(f"| {name} | {' | '.join(cells)} | {lost} |")
    return [*lines, ""]
