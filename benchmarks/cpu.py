"""``python -m benchmarks.cpu``: ours against its peers on a CPU, alternating in one run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import SHAPES, make_checkpoint
from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants import BASELINE, CONTESTANTS, Place
from benchmarks.older_cpu import PROCESSORS, pretend
from benchmarks.plot import write_plot
from benchmarks.report import write_table
from benchmarks.workers import Contest, Workload, prepare
from benchmarks.workloads import SINGLE_LENGTHS, corpus, single, token_lengths

_COLD_STARTS = 3
_TEXTS, _TEXTS_QUICK = 256, 96
_ROUNDS, _ROUNDS_QUICK = {"single": 7, "corpus": 3}, {"single": 3, "corpus": 1}


def main() -> None:
    """Entry point."""
    quick = "fewer texts and rounds: minutes, rougher"
    parser = make_parser("cpu", __doc__, quick=quick, shapes=list(SHAPES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument(
        "--processor", choices=list(PROCESSORS), help="hide newer instruction sets from everyone"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.processor:
            pretend(options.processor, Path(folder))
        results = results_head(options, "quick") | {"baseline": BASELINE, "runs": []}
        for shape in options.shapes:
            checkpoint = make_checkpoint(Path(folder) / shape / "checkpoint", shape)
            models = prepare(options.contestants, checkpoint)
            for threads in options.threads:
                results["runs"].append(_measure(shape, threads, models, options.quick, Path(folder)))
    pretended = ["pretended"] if options.processor else []
    stem = write_results(results, options.output, "cpu", *pretended)
    write_table(results, stem.with_suffix(".md"))
    write_plot(results, stem.with_suffix(".png"), results["machine"]["processor"])
    print(stem.with_suffix(".md").read_text())


def _measure(
    shape: str, threads: int, models: dict[str, Path | str], quick: bool, folder: Path
) -> dict[str, Any]:
    texts = corpus(_TEXTS_QUICK if quick else _TEXTS)
    label = f"{shape}, {threads} threads"
    place = Place("cpu", threads)
    with Contest().start(models, place, 1 if quick else _COLD_STARTS, label) as contest:
        for workload in _workloads(texts, quick):
            contest.alternate(workload, label)
        _compare(contest, texts, folder)
    return {
        "shape": shape,
        "threads": threads,
        "corpus_tokens": sum(token_lengths(texts)),
        "found": contest.found,
    }


def _workloads(texts: list[str], quick: bool) -> list[Workload]:
    rounds = _ROUNDS_QUICK if quick else _ROUNDS
    singles = [
        Workload(f"{length} tokens", [single(length)], rounds["single"], calls=(3, 100), warm=3)
        for length in SINGLE_LENGTHS
    ]
    return [*singles, Workload("corpus", texts, rounds["corpus"])]


def _compare(contest: Contest, texts: list[str], folder: Path) -> None:
    """Cosine with the baseline's vectors, memory, and what the contestant tells of itself."""
    vectors = contest.vectors(texts, folder)
    contest.details(texts)
    for name in contest.workers:
        if BASELINE in vectors:
            contest.found[name]["mean_cosine"] = float((vectors[name] * vectors[BASELINE]).sum(axis=1).mean())


if __name__ == "__main__":
    main()
