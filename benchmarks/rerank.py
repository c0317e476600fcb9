"""``python -m benchmarks.rerank``: our rerankers against their peers on a CPU, alternating in one run.

Each call scores the passages of one query, from the texts. The weights are random, of the true shapes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants import RERANK_BASELINE, RERANK_CONTESTANTS, Place
from benchmarks.rerankers import RERANKERS, make_reranker_checkpoint, passages_of
from benchmarks.workers import Contest, Workload, prepare

_ROUNDS, _ROUNDS_QUICK = 7, 2
_FEW = 10
"""Passages of the second workload: what is left where most were filtered out before."""

_OURS = {
    "ours-reranker-int8": 1.5,
    "ours-reranker-fp32": 1.0,
}
"""How many times as fast as the fastest of the others each should be."""


def main() -> None:
    """Entry point."""
    parser = make_parser("rerank", __doc__, quick="fewer rounds: rougher")
    shapes = list(RERANKERS)
    parser.add_argument("--shapes", nargs="+", choices=shapes, default=shapes[:2])
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128, help="of each passage (default: 128)")
    names = list(RERANK_CONTESTANTS)
    parser.add_argument("--contestants", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    results = results_head(options, "quick", "passages", "tokens")
    results |= {"baseline": RERANK_BASELINE, "runs": []}
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = make_reranker_checkpoint(Path(folder) / shape / "checkpoint", shape)
            models = prepare(options.contestants, checkpoint)
            query, passages = passages_of(checkpoint, options.tokens, options.passages)
            for threads in options.threads:
                run = _measure(
                    models, [query, *passages], threads, f"{shape}, {threads} threads", options.quick
                )
                results["runs"].append({"shape": shape, "threads": threads, **run})
    stem = write_results(results, options.output, "rerank")
    table = _table(results)
    stem.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def _measure(
    models: dict[str, Path | str], texts: list[str], threads: int, label: str, quick: bool
) -> dict[str, Any]:
    """``texts`` are a query and its passages."""
    rounds = _ROUNDS_QUICK if quick else _ROUNDS
    workloads = [Workload(f"{len(some) - 1} passages", some, rounds) for some in (texts, texts[: 1 + _FEW])]
    with (
        tempfile.TemporaryDirectory() as folder,
        Contest().start(models, Place("cpu", threads), 1, label) as contest,
    ):
        for workload in workloads:
            contest.alternate(workload, label)
        _compare(contest, texts, Path(folder) / "logits.npy")
        contest.details(texts)
    return {"workloads": [workload.name for workload in workloads], "found": contest.found}


def _compare(contest: Contest, texts: list[str], file: Path) -> None:
    """Differences from the baseline's logits."""
    logits: dict[str, np.ndarray] = {}
    contest.ask_all(
        lambda name, _: logits.update({name: np.load(file)[:, 0]}), do="vectors", texts=texts, file=str(file)
    )
    if RERANK_BASELINE in logits:
        for name, found in logits.items():
            difference = np.abs(found - logits[RERANK_BASELINE])
            contest.found[name]["largest_difference"] = float(difference.max())


def _table(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        f"{results['date']}, {machine['processor']} ({', '.join(machine['instruction_sets'])}), "
        f"{machine['cores']} cores{', quick' if results['quick'] else ''}. Random weights of the true "
        f"shapes; a query of 12 tokens, passages of {results['tokens']} tokens. In parentheses: times as "
        f"fast as {results['baseline']}, same run. Differences of the logits are from its own.",
        "",
    ]
    for run in results["runs"]:
        lines += [*_rows(run, results["baseline"]), "", *_verdicts(run), ""]
    return "\n".join(lines)


def _rows(run: dict[str, Any], baseline: str) -> list[str]:
    workloads = run["workloads"]
    lines = [
        f"**{run['shape']}, {run['threads']} thread(s)**",
        "",
        "| | " + " | ".join(f"{name}, ms" for name in workloads) + " | peak MB | largest difference |",
        "|---" * (len(workloads) + 3) + "|",
    ]
    base = run["found"].get(baseline, {}).get("workloads", {})
    for name, found in run["found"].items():
        if "not_measured" in found:
            lines.append(
                f"| {name} | not measured: {found['not_measured']} " + "| " * (len(workloads) + 1) + "|"
            )
            continue
        medians = {each: found["workloads"][each]["median_s"] for each in workloads}
        cells = [
            f"{1e3 * median:.1f}" + (f" ({base[each]['median_s'] / median:.2f}×)" if each in base else "")
            for each, median in medians.items()
        ]
        cells += [f"{found['peak_memory'] / 1e6:.0f}", f"{found.get('largest_difference', float('nan')):.2g}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _verdicts(run: dict[str, Any]) -> list[str]:
    """Ours against the fastest of the others: in int8 against all, in float32 against those in float32."""
    name = run["workloads"][0]
    measured = {
        each: found["workloads"][name]["median_s"]
        for each, found in run["found"].items()
        if "workloads" in found
    }
    return [
        _verdict(ours, measured, wanted)
        for ours, wanted in _OURS.items()
        if any(_is_rival(each, ours) for each in measured) and ours in measured
    ]


def _verdict(ours: str, measured: dict[str, float], wanted: float) -> str:
    rivals = {each: median for each, median in measured.items() if _is_rival(each, ours)}
    fastest = min(rivals, key=rivals.__getitem__)
    return (
        f"{ours}: {rivals[fastest] / measured[ours]:.2f} times as fast as {fastest}, the fastest of the "
        f"others{'' if _is_int8(ours) else ' in float32'} (wanted: {wanted:g})."
    )


def _is_rival(name: str, ours: str) -> bool:
    return name not in _OURS and (_is_int8(ours) or not _is_int8(name))


def _is_int8(name: str) -> bool:
    return name.endswith("int8")


if __name__ == "__main__":
    main()
