"""The results as a picture: speed relative to the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_plot"]


def write_plot(results: dict[str, Any], file: Path, machine: str) -> None:
    """One panel a shape and thread count, a group of bars a workload, a bar a contestant."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = results["runs"]
    figure, axes = plt.subplots(len(runs), 1, figsize=(10, 3.2 * len(runs)), squeeze=False)
    for axis, run in zip(axes[:, 0], runs, strict=True):
        _panel(axis, run, results["baseline"])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.suptitle(f"Times as fast as {results['baseline']} · {machine}", fontsize=10)
    figure.tight_layout(rect=(0, 0.2 / len(runs), 1, 1))
    figure.legend(handles, labels, ncols=4, fontsize=8, loc="lower center")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _panel(axis: Any, run: dict[str, Any], baseline: str) -> None:
    measured = {name: found["workloads"] for name, found in run["found"].items() if "workloads" in found}
    reference = measured.get(baseline)
    if not reference:
        return
    workloads = list(reference)
    width = 0.85 / len(measured)
    colors = _colors(list(measured))
    for index, (name, found) in enumerate(measured.items()):
        speedups = [reference[w]["median_s"] / found[w]["median_s"] for w in workloads]
        places = np.arange(len(workloads)) + (index - (len(measured) - 1) / 2) * width
        bars = axis.bar(places, speedups, width, label=name, color=colors[name])
        axis.bar_label(bars, fmt="%.1f", fontsize=6)
    axis.axhline(1, color="black", linewidth=0.6)
    axis.set_xticks(range(len(workloads)), workloads)
    threads = [f"{run['threads']} thread(s)"] if "threads" in run else []
    axis.set_title(", ".join([run["shape"], *threads]), fontsize=9)
    axis.margins(y=0.25)


def _colors(names: list[str]) -> dict[str, Any]:
    """Ours in blues, the others in warm and grey tones."""
    import matplotlib

    ours = [name for name in names if name.startswith("ours")]
    families = [(ours, "Blues_r", 0.1, 0.6), ([n for n in names if n not in ours], "Spectral", 0.0, 0.45)]
    colors = {}
    for members, scale, low, high in families:
        shades = matplotlib.colormaps[scale](np.linspace(low, high, len(members)))
        colors.update(zip(members, shades, strict=True))
    return colors
