"""``python -m benchmarks.corpus``: ``m3e-encode`` against the bare encoder, and its memory.

Without ``--memory``: synthetic Chinese passages of mixed length through both in turn, on M3E's shape in int8.
With it: a tiny model and two files, one a hundred times as large as the other.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tqdm import trange

from benchmarks.checkpoints import REHEARSAL
from benchmarks.command import make_parser, prepared_bundle, results_head, write_results
from benchmarks.contestants import Place
from benchmarks.corpus_files import write_passages, write_words
from benchmarks.encode_command import EncodeCommand
from benchmarks.workers import Worker
from benchmarks.workloads import corpus, token_lengths

_MODEL = "ours-int8"
_TEXTS, _TEXTS_QUICK = 200_000, 4_000
_ROUNDS, _ROUNDS_QUICK = 3, 1
_SIZES, _SIZES_QUICK = (50e6, 5e9), (1e6, 20e6)
_FORMATS = ("text", "parquet")


def main() -> None:
    """Entry point."""
    quick = "less of everything: a minute, rougher"
    parser = make_parser("corpus", __doc__, quick=quick, shape="m3e-small")
    parser.add_argument("--memory", action="store_true", help="memory for a large and a small file")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = _memory if options.memory else _throughput
        results = results_head(options, "quick", "threads") | measure(options, Path(folder))
    name = "corpus-memory" if options.memory else "corpus"
    stem = write_results(results, options.output, name)
    print(f"{_memory_in_words(results) if options.memory else _throughput_in_words(results)}\n{stem}.json")


def _throughput(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    bundle = prepared_bundle(_MODEL, options.shape, folder)
    texts = corpus(_TEXTS_QUICK if options.quick else _TEXTS)
    file = write_passages(folder / "corpus.jsonl", texts)
    command = EncodeCommand(bundle, file, folder / "v.npy", options.threads)
    bare = Worker(_MODEL, bundle, Place("cpu", options.threads))
    rounds = []
    for _ in trange(_ROUNDS_QUICK if options.quick else _ROUNDS, desc=f"{options.shape}: rounds"):
        rounds.append({"bare": _time_bare(bare, texts), "m3e-encode": command.run()})
    bare.ask(do="vectors", texts=texts, file=str(folder / "bare.npy"))
    same = np.array_equal(np.load(folder / "bare.npy"), np.load(folder / "v.npy"))
    bare.close()
    return {
        "shape": options.shape,
        "texts": len(texts),
        "tokens": sum(token_lengths(texts)),
        "identical": same,
        "rounds": rounds,
    }


def _time_bare(bare: Worker, texts: list[str]) -> dict[str, float]:
    def cpu_seconds() -> float:
        times = psutil.Process(bare.pid).cpu_times()
        return float(times.user + times.system)

    before = cpu_seconds()
    (seconds,) = bare.ask(do="time", texts=texts, repeats=1)["seconds"]
    return {"seconds": seconds, "cpu_seconds": cpu_seconds() - before}


def _memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    bundle = prepared_bundle(_MODEL, REHEARSAL, folder)
    runs = []
    for file_format in _FORMATS:
        for size in _SIZES_QUICK if options.quick else _SIZES:
            file = write_words(folder / f"corpus.{file_format}", file_format, int(size))
            command = EncodeCommand(
                bundle,
                file,
                folder / "v.npy",
                options.threads,
                "--precision",
                "ubinary",
                "--format",
                file_format,
            )
            runs.append({"format": file_format, "bytes": file.stat().st_size, **command.run()})
            file.unlink()
    return {"shape": "tiny", "runs": runs}


def _throughput_in_words(results: dict[str, Any]) -> str:
    """Medians over the rounds of what m3e-encode reaches in parts of the bare encoder."""
    rounds = results["rounds"]

    def ratio(name: str) -> float:
        return statistics.median(each["bare"][name] / each["m3e-encode"][name] for each in rounds)

    speeds = [results["tokens"] / each["m3e-encode"]["seconds"] for each in rounds]
    memory = rounds[-1]["m3e-encode"]["memory"]
    return (
        f"{results['shape']}, int8, {results['threads']} threads, {results['texts']} texts: "
        f"{statistics.median(speeds):.0f} tokens/s, {ratio('seconds'):.1%} of the bare encoder "
        f"(by processor time {ratio('cpu_seconds'):.1%}); vectors "
        f"{'identical' if results['identical'] else 'NOT IDENTICAL'}; memory at most "
        f"{memory['early'] / 1e6:.0f} MB in the first quarter of the run, "
        f"{memory['late'] / 1e6:.0f} MB in the last"
    )


def _memory_in_words(results: dict[str, Any]) -> str:
    lines = [
        f"{run['format']}, {run['bytes'] / 1e6:.0f} MB: {run['memory']['peak'] / 1e6:.0f} MB at most, "
        f"{run['seconds']:.0f} s"
        for run in results["runs"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
