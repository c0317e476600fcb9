"""``python -m benchmarks.scale``: time, cost and storage of corpora of 10 million to 100 billion passages.

Speeds are those that ``benchmarks.cpu`` and ``benchmarks.corpus`` measured, from the files of their results;
all else is computed from them. ``--write docs/scale.md`` puts the tables into the page.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.checkpoints import SHAPES, sizes_of
from benchmarks.stragglers import Cluster, simulate

_ROOT = Path(__file__).resolve().parents[1]
_CORPORA = {"10 million": 10**7, "1 billion": 10**9, "100 billion": 10**11}
_CORES = {"10 million": (2, 16), "1 billion": (64, 512), "100 billion": (4096, 32768)}
_PRECISIONS = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8}
_ARTIFACTS = ("int8", "fp32", "fp16")
_BYTES_PER_TOKEN = 3  # a Chinese character in UTF-8 is a token
_WORKER_CORES = 8
_PARTITIONS = (5, 15, 60, 300, 900, 3600)
_WORKERS = (16, 128, 1024)
_JOB_HOURS = 8
_SEEDS = 5


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour, $")
    parser.add_argument(
        "--terabyte-month", type=float, default=23.0, help="price of a terabyte for a month, $"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    tables = {
        "speed": _speed(options),
        "vectors": _vectors(),
        "corpora": _corpora(options),
        "partitions": _partitions(options),
        "stragglers": _stragglers(),
    }
    if options.write:
        _write(options.write, tables)
    else:
        print("\n\n".join(tables.values()))


def speeds(results: Path) -> tuple[dict[tuple[str, str], float], float, str]:
    """Tokens a second and core, by shape and artifact; tokens of a passage; where they were measured."""
    file = max(results.glob("cpu-*.json"), key=lambda each: each.name)
    content = json.loads(file.read_text(encoding="utf-8"))
    found = {}
    for run in content["runs"]:
        for artifact in _ARTIFACTS:
            seconds = run["found"][f"ours-{artifact}"]["workloads"]["corpus"]["median_s"]
            # The run with most threads comes last: what a core does while the others are busy too.
            found[run["shape"], artifact] = run["corpus_tokens"] / seconds / run["threads"]
    passages = 256  # of benchmarks.cpu's corpus
    tokens = content["runs"][0]["corpus_tokens"] / passages
    where = f"{content['machine']['processor']} ({', '.join(content['machine']['instruction_sets'])})"
    return found, tokens, f"{where}, {content['date']}"


def encode_share(results: Path) -> float | None:
    """What m3e-encode reaches of the bare encoder's speed; None where that is not measured."""
    files = [each for each in results.glob("corpus-2*.json") if "quick" not in each.name]
    if not files:
        return None
    rounds = json.loads(max(files).read_text(encoding="utf-8"))["rounds"]
    return float(np.median([each["bare"]["seconds"] / each["m3e-encode"]["seconds"] for each in rounds]))


def _speed(options: argparse.Namespace) -> str:
    found, tokens, where = speeds(options.results)
    share = encode_share(options.results)
    lines = [
        f"{where}; one core while all are busy.",
        f"Passages of mixed length, {tokens:.0f} tokens in the mean.",
        "",
        "| tokens/s and core | " + " | ".join(_ARTIFACTS) + " |",
        "|---" * (len(_ARTIFACTS) + 1) + "|",
    ]
    for shape in SHAPES:
        lines.append(f"| {shape} | " + " | ".join(f"{found[shape, each]:.0f}" for each in _ARTIFACTS) + " |")
    said = "not measured yet; taken as 100 % below" if share is None else f"{share:.1%} of its speed"
    return "\n".join([*lines, "", f"`m3e-encode` against the bare encoder: {said}."])


def _vectors() -> str:
    lines = [
        "| bytes a vector | " + " | ".join(_PRECISIONS) + " |",
        "|---" * (len(_PRECISIONS) + 1) + "|",
    ]
    for shape in SHAPES:
        cells = [f"{_vector_bytes(shape, precision):.0f}" for precision in _PRECISIONS]
        lines.append(f"| {shape}, {sizes_of(shape)['hidden']} dimensions | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _corpora(options: argparse.Namespace) -> str:
    found, tokens, _ = speeds(options.results)
    share = encode_share(options.results) or 1.0
    lines = [
        f"Assumed prices: ${options.core_hour:g} a core and hour, ${options.terabyte_month:g} a terabyte and "
        "month; they are arguments of the script.",
        "",
        "| passages | model, int8 | core-hours | time | cost | vectors in float32 | float16 | int8 | binary "
        "| a month of float16 |",
        "|---" * 10 + "|",
    ]
    for name, passages in _CORPORA.items():
        for shape in SHAPES:
            hours = passages * tokens / (found[shape, "int8"] * share) / 3600
            times = ", ".join(f"{_duration(hours / cores)} on {cores} cores" for cores in _CORES[name])
            sizes = [_size(passages * _vector_bytes(shape, precision)) for precision in _PRECISIONS]
            month = passages * _vector_bytes(shape, "float16") / 1e12 * options.terabyte_month
            lines.append(
                f"| {name} | {shape} | {hours:,.0f} | {times} | {_dollars(hours * options.core_hour)} | "
                f"{' | '.join(sizes)} | {_dollars(month)} |"
            )
    return "\n".join(lines)


def _partitions(options: argparse.Namespace) -> str:
    found, tokens, _ = speeds(options.results)
    lines = [
        "| text in a partition | passages | float16 part of m3e-base | "
        + " | ".join(f"{shape}, {_cores(cores)}" for shape in SHAPES for cores in (1, _WORKER_CORES))
        + " | parts of 1 billion passages |",
        "|---" * 8 + "|",
    ]
    for megabytes in (1, 8, 64, 512):
        passages = (megabytes << 20) / (tokens * _BYTES_PER_TOKEN)
        times = [
            _duration(passages * tokens / found[shape, "int8"] / cores / 3600)
            for shape in SHAPES
            for cores in (1, _WORKER_CORES)
        ]
        part = _size(passages * _vector_bytes("m3e-base", "float16"))
        lines.append(
            f"| {megabytes} MB | {passages:,.0f} | {part} | {' | '.join(times)} | {10**9 / passages:,.0f} |"
        )
    return "\n".join(lines)


def _stragglers() -> str:
    lines = [
        f"| work in a partition | {' | '.join(f'{workers} workers' for workers in _WORKERS)} |",
        "|---" * (len(_WORKERS) + 1) + "|",
    ]
    for seconds in tqdm(_PARTITIONS, desc="Simulating"):
        cells = []
        for workers in _WORKERS:
            runs = [simulate(Cluster(workers), _JOB_HOURS * 3600, seconds, seed) for seed in range(_SEEDS)]
            parts = [np.mean([getattr(run, name) for run in runs]) for name in ("lost", "overhead", "tail")]
            lost, overhead, tail = (f"{part:.1%}" for part in parts)
            cells.append(f"**{sum(parts):.1%}** = {lost} + {overhead} + {tail}")
        lines.append(f"| {_duration(seconds / 3600)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _vector_bytes(shape: str, precision: str) -> float:
    return sizes_of(shape)["hidden"] * _PRECISIONS[precision]


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _duration(hours: float) -> str:
    for unit, size in (("days", 24.0), ("h", 1.0), ("min", 1 / 60)):
        if hours >= 2 * size or (unit == "h" and hours >= size):
            return f"{hours / size:.1f} {unit}"
    return f"{hours * 3600:.0f} s"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _dollars(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 10 else f"${amount:.2f}"


def _write(page: Path, tables: dict[str, str]) -> None:
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
        text, found = pattern.subn(lambda _, b=begin, t=table, e=end: f"{b}\n{t}\n{e}", text)
        if found != 1:
            raise SystemExit(f"{page}: has no {begin} … {end}")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
