"""``python -m benchmarks.newer_encoders``: encoders after BERT, short and long texts, beside their peers.

All contestants take turns in one run. Who cannot run a shape or a length is named in the results.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants import BASELINE, CONTESTANTS, Place
from benchmarks.newer_shapes import NEWER_SHAPES, make_newer_checkpoint
from benchmarks.plot import write_plot
from benchmarks.report import write_table
from benchmarks.workers import Contest, Workload, prepare
from benchmarks.workloads import corpus, single, token_lengths

_LENGTHS = (12, 128, 512, 2048, 8192)
_TEXTS = 96
_CONTESTANTS = [name for name in CONTESTANTS if name != "ctranslate2-int8"]  # which has none of the families
_BRIEF = 512
"""Longer texts get fewer rounds: a call takes seconds."""


def main() -> None:
    """Entry point."""
    parser = make_parser("newer_encoders", __doc__, quick="fewer rounds: rougher")
    shapes = list(NEWER_SHAPES)
    parser.add_argument("--shapes", nargs="+", choices=shapes, default=shapes[:1])
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--lengths", nargs="+", type=int, default=list(_LENGTHS))
    parser.add_argument("--contestants", nargs="+", choices=_CONTESTANTS, default=_CONTESTANTS)
    options = parser.parse_args()
    results = results_head(options, "quick", "lengths") | {"baseline": BASELINE, "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            checkpoint = make_newer_checkpoint(Path(folder) / shape / "checkpoint", shape)
            models = prepare(options.contestants, checkpoint)
            for threads in options.threads:
                run = measure(models, threads, shape, options.lengths, options.quick)
                results["runs"].append({"shape": shape, "threads": threads, **run})
    stem = write_results(results, options.output, "newer-encoders")
    write_table(results, stem.with_suffix(".md"), options.lengths)
    write_plot(results, stem.with_suffix(".png"), results["machine"]["processor"])
    print(stem.with_suffix(".md").read_text())


def measure(
    models: dict[str, Path | str], threads: int, shape: str, lengths: list[int], quick: bool
) -> dict[str, Any]:
    """Let the contestants of ``models`` take turns at texts of ``lengths`` tokens and the corpus."""
    texts, label = corpus(_TEXTS), f"{shape}, {threads} threads"
    with (
        tempfile.TemporaryDirectory() as folder,
        Contest().start(models, Place("cpu", threads), 1, label) as contest,
    ):
        for length in lengths:
            contest.alternate(_workload(length, quick), label)
        contest.details(texts)  # before the corpus: the memory is that of the longest text
        contest.alternate(Workload("corpus", texts, 1 if quick else 3), label)
        vectors = contest.vectors(texts, Path(folder))
        for name in contest.workers:
            if BASELINE in vectors:
                cosines = (vectors[name] * vectors[BASELINE]).sum(axis=1)
                contest.found[name]["mean_cosine"] = float(cosines.mean())
    return {"corpus_tokens": sum(token_lengths(texts)), "found": contest.found}


def _workload(length: int, quick: bool) -> Workload:
    if length > _BRIEF:
        return Workload(f"{length} tokens", [single(length)], 1 if quick else 3)
    return Workload(f"{length} tokens", [single(length)], 3 if quick else 5, calls=(2, 40))


if __name__ == "__main__":
    main()
