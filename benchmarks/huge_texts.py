"""``python -m benchmarks.huge_texts``: what huge texts cost the service, and those who ask beside them.

One client asks short queries and ``/livez`` all the time. Beside it another process posts huge texts, one
kind at a time, with a pause after each. Reported for each kind: the latencies of both against those without
huge texts, and the service's largest resident memory above its memory when idle.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import uvloop

from benchmarks.command import make_parser, prepared_bundle, results_head, write_results
from benchmarks.serve.client import Client, post
from benchmarks.serve.servers import MODEL, OURS, SERVERS, Server

_MEBIBYTE = 1 << 20
_CHINESE = "今天天气很好，我们去公园玩吧。"
_ENGLISH = "The quick brown fox jumps over the lazy dog. "
_PAUSE = 0.002  # seconds between two queries
_SAMPLED = 0.005  # seconds between two looks at the memory
_START = 2.0  # seconds in which the other process has begun
_SPAWN = multiprocessing.get_context("spawn")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = make_parser("huge_texts", __doc__, shape="m3e-small", rehearsal=True)
    parser.add_argument("--threads", type=int, default=1, help="of the engine (default: 1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each kind (default: 20)")
    parser.add_argument("--megabytes", type=float, default=7.9, help="of one text (default: 7.9)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds after an answer (default: 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = prepared_bundle(SERVERS[OURS], options.shape, Path(folder))
        server = Server(OURS, bundle, options.threads)
        try:
            runs = uvloop.run(_measure(server, options))
        finally:
            server.close()
    results = results_head(options, "shape", "threads", "seconds", "megabytes", "pause") | {"runs": runs}
    stem = write_results(results, options.output, "huge-texts", options.shape)
    _plot(runs, stem.with_suffix(".png"))
    print(f"{_table(runs)}\n{stem}.json")
    return 0


def _posts(megabytes: float) -> dict[str, tuple[str, dict[str, str], int]]:
    """Path and content of each kind, and how many are sent at once."""
    size = int(megabytes * _MEBIBYTE)
    chinese = _CHINESE * (size // len(_CHINESE.encode()))
    return {
        "/embed, Chinese": ("/embed", {"inputs": chinese}, 1),
        "/embed, English": ("/embed", {"inputs": _ENGLISH * (size // len(_ENGLISH))}, 1),
        "/embed, one letter": ("/embed", {"inputs": "a" * size}, 1),
        "/embed, spaces": ("/embed", {"inputs": " " * size}, 1),
        "/v1/embeddings, Chinese": ("/v1/embeddings", {"model": MODEL, "input": chinese}, 1),
        "8 × /embed, Chinese, a fortieth": ("/embed", {"inputs": chinese[: len(chinese) // 40]}, 8),
        "/tokenize, Chinese": ("/tokenize", {"inputs": chinese}, 1),
    }


def _post_again(port: int, request: bytes, callers: int, pause: float, seconds: float, told: Any) -> None:
    """In a process of its own, so that its work delays nobody's clock."""
    told.put(asyncio.run(_posted(port, request, callers, pause, seconds)))


async def _posted(
    port: int, request: bytes, callers: int, pause: float, seconds: float
) -> list[tuple[int, float]]:
    until = time.perf_counter() + seconds
    with closing(Client("127.0.0.1", port)) as client:
        return [
            each
            for found in await asyncio.gather(
                *(_repeat(client, request, pause, until) for _ in range(callers))
            )
            for each in found
        ]


async def _repeat(client: Client, request: bytes, pause: float, until: float) -> list[tuple[int, float]]:
    """Status and seconds of each request."""
    found = []
    while time.perf_counter() < until:
        start = time.perf_counter()
        status, _ = await client.ask(request)
        found.append((status, time.perf_counter() - start))
        await asyncio.sleep(pause)
    return found


async def _measure(server: Server, options: argparse.Namespace) -> list[dict[str, Any]]:
    process = psutil.Process(server.process.pid)
    with closing(Client("127.0.0.1", server.port)) as client:
        await _short_requests(client, process, 1.0)  # to be warm
        idle = process.memory_info().rss
        runs = [{"kind": "nothing", **await _short_requests(client, process, options.seconds)}]
        for kind, (path, content, callers) in _posts(options.megabytes).items():
            request = post(path, orjson.dumps(content))
            told: Any = _SPAWN.Queue()
            arguments = (server.port, request, callers, options.pause, options.seconds + _START, told)
            poster = _SPAWN.Process(target=_post_again, args=arguments)
            poster.start()
            await asyncio.sleep(_START)
            run = {"kind": kind, **await _short_requests(client, process, options.seconds)}
            posted = await asyncio.to_thread(told.get)
            poster.join()
            run["posted"] = {str(status): count for status, count in Counter(s for s, _ in posted).items()}
            run["seconds_each"] = float(np.mean([seconds for _, seconds in posted]))
            runs.append(run)
    for run in runs:
        run["above_idle_bytes"] = run.pop("peak_bytes") - idle
    return runs


async def _short_requests(client: Client, process: psutil.Process, seconds: float) -> dict[str, Any]:
    """Latencies of short queries and of ``/livez``, and the largest memory meanwhile."""
    until = time.perf_counter() + seconds
    query = post("/v1/embeddings", orjson.dumps({"model": MODEL, "input": "如何更换花呗绑定银行卡"}))
    alive = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
    peak = 0

    async def watch() -> None:
        nonlocal peak
        while time.perf_counter() < until:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(_SAMPLED)

    queries, lives, _ = await asyncio.gather(
        _repeat(client, query, _PAUSE, until), _repeat(client, alive, _PAUSE, until), watch()
    )
    if any(status != 200 for status, _ in (*queries, *lives)):
        raise SystemExit("a short request was not answered")
    return {"query": _percentiles(queries), "livez": _percentiles(lives), "peak_bytes": peak}


def _percentiles(found: list[tuple[int, float]]) -> dict[str, float]:
    times = [seconds for _, seconds in found]
    p50, p99 = np.percentile(times, [50, 99])
    return {"count": len(times), "p50_s": float(p50), "p99_s": float(p99), "max_s": max(times)}


def _table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| beside | query p50 / p99 ms | p99 of idle | /livez p99 / max ms | answers | s each | memory |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for run in runs:
        query, live = run["query"], run["livez"]
        lines.append(
            f"| {run['kind']} | {query['p50_s'] * 1e3:.2f} / {query['p99_s'] * 1e3:.2f} "
            f"| {query['p99_s'] / runs[0]['query']['p99_s']:.2f} × "
            f"| {live['p99_s'] * 1e3:.2f} / {live['max_s'] * 1e3:.2f} | {run.get('posted', '')} "
            f"| {run.get('seconds_each', 0.0):.3f} | +{run['above_idle_bytes'] / _MEBIBYTE:.0f} MiB |"
        )
    return "\n".join(lines)


def _plot(runs: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 3.6))
    idle = runs[0]["query"]["p99_s"]
    bars = axis.barh([run["kind"] for run in runs], [run["query"]["p99_s"] / idle for run in runs])
    axis.bar_label(bars, fmt="%.2f", fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("99th percentile of a short query's latency, times that without huge texts")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
