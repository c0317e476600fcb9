"""``python -m benchmarks.gpu``: ours against its peers on one NVIDIA GPU, alternating in one run."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ceiling, machine
from benchmarks.checkpoints import REHEARSAL, SHAPES, sizes_of
from benchmarks.command import make_parser, results_head
from benchmarks.contestants import GPU_BASELINE, GPU_CONTESTANTS, GPU_REFERENCE, Place
from benchmarks.contestants.ours_gpu import automatic_contestant
from benchmarks.gpu_report import write_table
from benchmarks.kept_models import kept_models
from benchmarks.plot import write_plot
from benchmarks.workers import Contest, Workload
from benchmarks.workloads import batch, corpus, single, token_lengths
from m3e_runtime.errors import EngineMissingError
from m3e_runtime.gpu.driver import Gpu, find_gpu
from m3e_runtime.threads import available_threads

_CALLS = 500  # of a query, so that a 99th percentile means something
_ROUNDS, _ROUNDS_QUICK = 7, 3
_TEXTS, _TEXTS_QUICK = 4096, 1024
_WARM = 4  # graphs are recorded and kernels tried in the first calls
_SHARES = ("32 × 64 tokens", "corpus")
_RESULTS = Path("benchmarks/results")


def main() -> None:
    """Entry point."""
    options = _options()
    if options.only_prepare:
        _prepare(options)
        return
    gpu = None if options.device == "cpu" else _find_gpu()
    if gpu is None:
        print("Rehearsal on the CPU: no figure of this run means anything.", file=sys.stderr)
    results = results_head(options, "quick")
    results["machine"]["gpu"] = machine.describe_gpu(gpu) if gpu else None
    results |= {
        "rehearsal": gpu is None,
        "baseline": GPU_BASELINE,
        "reference": GPU_REFERENCE,
        "automatic": automatic_contestant(),
        "runs": [],
    }
    stem = _stem(results, options.output, gpu)
    for shape in options.shapes:
        run: dict[str, Any] = {"shape": shape, "finished": False}
        results["runs"].append(run)
        # After each workload, because a machine that is rented by the minute may be gone before the last.
        _measure(run, options, lambda: _write_json(results, stem))
    _present(results, stem, gpu)


def _prepare(options: argparse.Namespace) -> None:
    for shape in options.shapes:
        for name, model in kept_models(options.contestants, shape, options.models).items():
            print(f"{shape}, {name}: {model}")


def _options() -> argparse.Namespace:
    parser = make_parser("gpu", __doc__, quick="fewer texts and rounds: rougher", output=None)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, REHEARSAL])
    parser.add_argument(
        "--contestants", nargs="+", choices=list(GPU_CONTESTANTS), default=list(GPU_CONTESTANTS)
    )
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cuda: the first GPU of CUDA_VISIBLE_DEVICES; cpu: a rehearsal, which needs --output",
    )
    parser.add_argument("--models", type=Path, help="folder that keeps the bundles for the next run")
    parser.add_argument("--only-prepare", action="store_true", help="make the bundles, measure nothing")
    options = parser.parse_args()
    if options.only_prepare and options.models is None:
        parser.error("--only-prepare needs --models, else nothing is left of it")
    if options.device == "cpu" and options.output is None and not options.only_prepare:
        parser.error("--device cpu is a rehearsal and writes only where --output says")
    options.shapes = options.shapes or ([REHEARSAL] if options.device == "cpu" else list(SHAPES))
    options.output = options.output or _RESULTS
    return options


def _find_gpu() -> Gpu:
    try:
        return find_gpu()
    except EngineMissingError as error:
        reason = str(error).partition(";")[0].rstrip(".")
        print(
            f"error: {reason}: run `python -m benchmarks.gpu` on a machine with an NVIDIA GPU, "
            "or rehearse with `python -m benchmarks.gpu --device cpu --output FOLDER`.",
            file=sys.stderr,
        )
        sys.exit(error.exit_code)


def _measure(run: dict[str, Any], options: argparse.Namespace, keep: Callable[[], None]) -> None:
    """Fill ``run``; ``keep`` is called whenever there is more in it."""
    rehearsal, shape = options.device == "cpu", run["shape"]
    workloads = _workloads(options.quick, rehearsal)
    texts = workloads[-1].texts
    run["corpus_tokens"] = sum(token_lengths(texts))
    with tempfile.TemporaryDirectory() as temporary:
        models = kept_models(options.contestants, shape, options.models or Path(temporary))
        run["ceiling"] = ceiling.measure(options.device)
        place = Place(options.device, 1 if rehearsal else available_threads())
        with Contest().start(models, place, 1, shape) as contest:
            run["found"] = contest.found
            if not rehearsal:
                contest.ask_all(do="tune", texts=texts)
            for workload in workloads:
                contest.alternate(workload, shape)
                _note_memory(contest)
                if workload.name in _SHARES:
                    _add_shares(contest.found, workload, sizes_of(shape), run["ceiling"].get("flops_per_s"))
                keep()
            contest.details(texts)
            keep()
            run["unrelated_cosine"] = _compare(contest, workloads, Path(temporary))
    run["finished"] = True
    keep()


def _workloads(quick: bool, rehearsal: bool) -> list[Workload]:
    """Two queries, a long text, a full batch, and the corpus last."""
    if rehearsal:
        rounds, query, few, texts = 2, (5, 5), (1, 1), 48
    else:
        rounds = _ROUNDS_QUICK if quick else _ROUNDS
        query, few, texts = (math.ceil(_CALLS / rounds), 1000), (3, 100), _TEXTS_QUICK if quick else _TEXTS
    warm = 1 if rehearsal else _WARM
    return [
        Workload("12 tokens", [single(12)], rounds, query, warm, tail=True),
        Workload("32 tokens", [single(32)], rounds, query, warm, tail=True),
        Workload("1 × 128 tokens", [single(128)], rounds, few, warm),
        Workload("32 × 64 tokens", batch(32, 64), rounds, few, warm),
        Workload("corpus", corpus(texts), rounds, (1, 1), warm),
    ]


def _note_memory(contest: Contest) -> None:
    """The most that the driver has seen each process hold after its turns; caches keep what a turn needed."""
    held = machine.gpu_memory()
    for name, worker in contest.workers.items():
        known = contest.found[name].setdefault("gpu_memory", None)
        contest.found[name]["gpu_memory"] = max(known or 0, held.get(worker.pid, 0)) or None


def _compare(contest: Contest, workloads: list[Workload], folder: Path) -> float | None:
    """Cosines with the reference's vectors, for every text and in the batch that was timed.

    Returns:
        The reference's mean cosine of one text with the next, to see what the others' cosines say.
    """
    cosines: dict[str, list[float]] = {}
    for workload in workloads:
        vectors = contest.vectors(workload.texts, folder)
        if GPU_REFERENCE not in vectors:
            return None
        for name, own in vectors.items():
            cosines.setdefault(name, []).extend((own * vectors[GPU_REFERENCE]).sum(axis=1).tolist())
    for name in contest.workers:
        contest.found[name]["mean_cosine"] = sum(cosines[name]) / len(cosines[name])
        contest.found[name]["min_cosine"] = min(cosines[name])
    reference = vectors[GPU_REFERENCE]
    return float((reference[:-1] * reference[1:]).sum(axis=1).mean())


def _add_shares(
    found: dict[str, Any], workload: Workload, sizes: dict[str, int], highest: float | None
) -> None:
    """The part of the ceiling that the real tokens of a throughput workload come to."""
    if highest is None:
        return
    flops = ceiling.model_flops(sizes, token_lengths(workload.texts))
    for figures in (each["workloads"][workload.name] for each in found.values() if "workloads" in each):
        figures["ceiling_share"] = flops / figures["median_s"] / highest


def _stem(results: dict[str, Any], output: Path, gpu: Gpu | None) -> str:
    card = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-") if gpu else "rehearsal"
    output.mkdir(parents=True, exist_ok=True)
    return str(output / "-".join(["gpu", results["date"], card, *(["quick"] if results["quick"] else [])]))


def _write_json(results: dict[str, Any], stem: str) -> None:
    content = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    fresh = Path(f"{stem}.json.new")
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(f"{stem}.json")


def _present(results: dict[str, Any], stem: str, gpu: Gpu | None) -> None:
    """The table and the plot of what has been written as JSON."""
    write_table(results, Path(f"{stem}.md"))
    try:
        write_plot(results, Path(f"{stem}.png"), gpu.name if gpu else "REHEARSAL ON A CPU")
    except ModuleNotFoundError as error:
        print(f"no plot: {error.name} is not installed", file=sys.stderr)
    print(Path(f"{stem}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
