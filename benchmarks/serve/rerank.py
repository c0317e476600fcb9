"""``python -m benchmarks.serve.rerank``: what the service adds to scoring the passages of a query.

The bare call of ``Reranker.predict`` in a process of its own and requests to ``m3e-serve`` take turns, one
client at a time. The scores must be the same, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.command import make_parser, results_head, write_results
from benchmarks.contestants import Place
from benchmarks.rerankers import RERANKERS, make_reranker_checkpoint, passages_of
from benchmarks.serve.client import Client, post
from benchmarks.serve.servers import MODEL, OURS, Server
from benchmarks.workers import Worker, prepare

_BARE = "ours-reranker-int8"
_ROUNDS, _ROUNDS_QUICK = 15, 5
_OK = 200
_MOST = 1.05
"""How many times as long as the bare call a request may take."""


def main() -> None:
    """Entry point."""
    parser = make_parser("serve.rerank", __doc__, quick="fewer rounds: rougher")
    shapes = list(RERANKERS)
    parser.add_argument("--shapes", nargs="+", choices=shapes, default=shapes[:2])
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default: 2)")
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128, help="of each passage (default: 128)")
    options = parser.parse_args()
    results = results_head(options, "quick", "threads", "passages", "tokens") | {"runs": []}
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            results["runs"].append({"shape": shape, **_measure(shape, Path(folder), options)})
    stem = write_results(results, options.output, "serve-rerank")
    table = _table(results)
    stem.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def _measure(shape: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    checkpoint = make_reranker_checkpoint(folder / "checkpoint", shape)
    query, passages = passages_of(checkpoint, options.tokens, options.passages)
    bundle = prepare([_BARE], checkpoint)[_BARE]
    if isinstance(bundle, str):
        raise SystemExit(f"the bundle cannot be made: {bundle}")
    bare = Worker(_BARE, bundle, Place("cpu", options.threads))
    server = Server(OURS, bundle, options.threads)
    try:
        texts = [query, *passages]
        _check_scores(server, bare, texts, folder / "logits.npy")
        seconds = asyncio.run(_alternate(server, bare, texts, _ROUNDS_QUICK if options.quick else _ROUNDS))
    finally:
        bare.close()
        server.close()
    return {
        name: {
            "median_s": statistics.median(found),
            "times_bare": statistics.median(found) / statistics.median(seconds["predict"]),
            "rounds": found,
        }
        for name, found in seconds.items()
    }


async def _alternate(server: Server, bare: Worker, texts: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in every round."""
    client = Client("127.0.0.1", server.port)
    requests = _requests(texts)
    seconds: dict[str, list[float]] = {name: [] for name in ("predict", *requests)}
    for number in tqdm(range(rounds + 1), desc="in turn"):
        taken = {"predict": bare.ask(do="time", texts=texts, repeats=1)["seconds"][0]}
        for name, request in requests.items():
            start = time.perf_counter()
            status, body = await client.ask(request)
            taken[name] = time.perf_counter() - start
            if status != _OK:
                raise SystemExit(f"{name} answers {status}: {body[:200]!r}")
        for name, each in taken.items() if number else ():  # the first round is for warming up
            seconds[name].append(each)
    client.close()
    return seconds


def _check_scores(server: Server, bare: Worker, texts: list[str], file: Path) -> None:
    """Compare the logits of ``/rerank`` with those of the bare call.

    Raises:
        SystemExit: they differ.
    """
    bare.ask(do="vectors", texts=texts, file=str(file))
    body = _json({"query": texts[0], "texts": texts[1:], "raw_scores": True})

    async def ask() -> tuple[int, bytes]:
        return await Client("127.0.0.1", server.port).ask(post("/rerank", body), alone=True)

    _, answer = asyncio.run(ask())
    found = {rank["index"]: rank["score"] for rank in json.loads(answer)}
    scores = np.array([found[at] for at in range(len(texts) - 1)], dtype=np.float32)
    if scores.tobytes() != np.load(file)[:, 0].tobytes():
        raise SystemExit("the service gives other scores than the bare call")


def _requests(texts: list[str]) -> dict[str, bytes]:
    query, passages = texts[0], texts[1:]
    documents = {"model": MODEL, "query": query, "documents": passages, "return_documents": False}
    return {
        "/rerank": post("/rerank", _json({"query": query, "texts": passages})),
        "/v1/rerank": post("/v1/rerank", _json(documents)),
    }


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _table(results: dict[str, Any]) -> str:
    machine = results["machine"]
    names = list(results["runs"][0])[1:]
    lines = [
        f"{results['date']}, {machine['processor']} ({', '.join(machine['instruction_sets'])}), "
        f"{machine['cores']} cores, {results['threads']} thread(s){', quick' if results['quick'] else ''}. "
        f"Random weights of the true shapes, int8; {results['passages']} passages of {results['tokens']} "
        f"tokens and one client on the same machine. In parentheses: times as long as the bare call (at most "
        f"{_MOST:g}).",
        "",
        "| | " + " | ".join(f"{name}, ms" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for run in results["runs"]:
        cells = [f"{1e3 * run[name]['median_s']:.1f} ({run[name]['times_bare']:.3f}×)" for name in names]
        lines.append(f"| {run['shape']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
