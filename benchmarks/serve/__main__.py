"""``python -m benchmarks.serve``: ``m3e-serve`` and its peers under load.

For each shape, in one run: what a service adds to a short query at one client, throughput at saturation with
one and with many texts a request, both in turn with the bare encoder, and latency under Poisson arrivals.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from tqdm import tqdm

from benchmarks.checkpoints import SHAPES, make_checkpoint
from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants import Place
from benchmarks.serve import report
from benchmarks.serve.measure import Duration, added_latency, latency_under_load, throughput, vectors
from benchmarks.serve.servers import OURS, PEERS, SERVERS, Server, running
from benchmarks.workers import Worker, prepare
from benchmarks.workloads import corpus, token_lengths

_LOADS = (0.1, 0.25, 0.5, 0.65, 0.8, 0.9)
"""Rates of arrivals, in parts of the requests a second at which the same server is saturated."""

_CALLERS = {1: 64, 32: 4}
"""Texts of a request → callers at a time."""

_TEXTS, _TEXTS_QUICK = 1024, 128
_FULL, _QUICK = Duration(3, 10, 25, 2), Duration(2, 2, 3, 0.5)
_COMPARED = 32


def main() -> None:
    """Entry point."""
    quick = "less of everything: two minutes, rougher"
    parser = make_parser("serve", __doc__, quick=quick, shapes=list(SHAPES), rehearsal=True)
    parser.add_argument("--threads", type=int, default=1, help="of each server's engine (default: 1)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    options = parser.parse_args()
    results = results_head(options, "quick", "threads") | {"runs": []}
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            results["runs"].append(_measure(shape, Path(folder), options))
    stem = write_results(results, options.output, "serve")
    report.write_table(results, stem.with_suffix(".md"))
    report.write_plot(results, stem.with_suffix(".png"))
    print(stem.with_suffix(".md").read_text())


def _measure(shape: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    names = [OURS, *options.peers]
    contestants = list(dict.fromkeys(SERVERS[name] for name in names))
    models = prepare(contestants, make_checkpoint(folder / shape / "checkpoint", shape))
    bundle = models[SERVERS[OURS]]
    if isinstance(bundle, str):
        raise SystemExit(f"the bundle cannot be made: {bundle}")
    bare = Worker(SERVERS[OURS], bundle, Place("cpu", options.threads))
    try:
        with running(names, models, options.threads) as started:
            if isinstance(started[OURS], str):
                raise SystemExit(f"{OURS} does not start: {started[OURS]}")
            servers = [server for server in started.values() if isinstance(server, Server)]
            return {
                "shape": shape,
                "not_measured": {name: why for name, why in started.items() if isinstance(why, str)},
                **_measure_servers(servers, bare, options.quick),
            }
    finally:
        bare.close()


def _measure_servers(servers: list[Server], bare: Worker, quick: bool) -> dict[str, Any]:
    texts, duration = corpus(_TEXTS_QUICK if quick else _TEXTS), _QUICK if quick else _FULL
    found: dict[str, Any] = {
        "mean_tokens": sum(token_lengths(texts)) / len(texts),
        "cosine": _cosines(servers, texts[:_COMPARED]),
        "one_client": uvloop.run(added_latency(servers, bare, 8 * duration.rounds)),
        "saturation": {
            str(size): uvloop.run(throughput(servers, bare, texts, size, callers, duration))
            for size, callers in _CALLERS.items()
        },
    }
    found["load"] = {server.name: [] for server in servers}
    for load in tqdm(_LOADS, desc="Poisson arrivals"):
        for server in servers:
            saturated = found["saturation"]["1"][server.name]["tokens_per_second"] / found["mean_tokens"]
            point = uvloop.run(latency_under_load(server, texts, load * saturated, duration))
            found["load"][server.name].append({"load": load, **point})
    return found


def _cosines(servers: list[Server], texts: list[str]) -> dict[str, float]:
    """Mean cosine of our vectors with each server's: whether all compute the same."""
    found = {server.name: vectors(server, texts) for server in servers}
    return {name: float((found[OURS] * each).sum(axis=1).mean()) for name, each in found.items()}


if __name__ == "__main__":
    main()
