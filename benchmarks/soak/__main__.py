"""``python -m benchmarks.soak``: minutes of twice what the service can do, nonsense among it, then SIGTERM.

The service has an embedding model and a reranker. Every answer is judged: a vector must be
``Encoder.encode``'s bit for bit, or ``encode_chunks``'s, a score ``Reranker.predict``'s, a refusal must be
one in the shape of its interface. The resident memory is watched. Exits with 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop
from tqdm import tqdm

from benchmarks.command import (
    make_parser,
    prepared_bundle,
    prepared_reranker,
    results_head,
    write_results,
)
from benchmarks.serve.client import Client, closed_loop, open_loop
from benchmarks.serve.servers import MODEL, OURS, RERANKER, SERVERS, Server
from benchmarks.soak.traffic import PASSAGES, QUERIES, LongText, Question, Ranking, Traffic, judge
from benchmarks.workloads import corpus
from m3e_runtime import ChunkOptions, Encoder, Reranker

_POOL = 1000
_CALLERS = 32
_CONNECTIONS = 8192
"""More than there will be: at the limit nonsense would be refused unread, and would prove nothing."""

_TEXTS_OF_A_LONG_ONE = 20
_CHUNKINGS: list[dict[str, Any]] = [
    {"tokens": 64, "overlap": 8},
    {"tokens": 64, "late": True},
    {"late": True},
]

_RIGHT = ("answered", "scored", "divided")
"""What must have happened to some requests."""

_SATURATING_SECONDS = 5.0
_LAST_SECONDS = 6.0
"""Of load at the end. Halfway through the service is told to end."""


def main() -> int:
    """Entry point; returns the exit code."""
    parser = make_parser("soak", __doc__, shape="m3e-small", rehearsal=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--overload", type=float, default=2.0, help="times the saturation (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="of the engine (default: 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _soak(Path(folder), options)
    results = results_head(options, "shape", "threads", "minutes", "overload") | found
    stem = write_results(results, options.output, "soak", options.shape)
    print(f"{_in_words(results)}\n{stem}.json")
    return int(results["wrong"])


def _soak(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    bundle = prepared_bundle(SERVERS[OURS], options.shape, folder)
    texts = corpus(_POOL)
    with closing(Encoder.load(bundle, threads=options.threads)) as encoder:
        vectors = encoder.encode(texts, normalize_embeddings=True)
        long_texts, of_chunks = _long_texts(encoder, texts)
    reranker = prepared_reranker(options.shape, folder)
    with closing(Reranker.load(reranker, threads=options.threads)) as scorer:
        pairs = [(query, passage) for query in texts[:QUERIES] for passage in texts[:PASSAGES]]
        scores = scorer.predict(pairs, activation_fn="sigmoid").reshape(QUERIES, PASSAGES)
    limits = ["--max-connections", str(_CONNECTIONS)]
    server = Server(OURS, bundle, options.threads, *limits, reranker=reranker)
    try:
        soak = _Soak(server, texts, np.concatenate([vectors, of_chunks]), scores, long_texts)
        return uvloop.run(soak.run(60 * options.minutes, options.overload))
    finally:
        server.close()


def _long_texts(encoder: Encoder, texts: list[str]) -> tuple[list[LongText], np.ndarray]:
    """Texts that are longer than the model takes, and the vectors of their chunks."""
    made: list[LongText] = []
    vectors: list[np.ndarray] = []
    first = len(texts)
    for at, chunking in enumerate(_CHUNKINGS):
        text = "。".join(texts[at : at + _TEXTS_OF_A_LONG_ONE])
        found = encoder.encode_chunks(text, normalize_embeddings=True, chunking=ChunkOptions(**chunking))
        made.append(LongText(text, chunking, range(first, first + len(found))))
        vectors.append(found.vectors)
        first += len(found)
    return made, np.concatenate(vectors)


class _Soak:
    def __init__(
        self,
        server: Server,
        texts: list[str],
        vectors: np.ndarray,
        scores: np.ndarray,
        long_texts: list[LongText],
    ) -> None:
        self._server = server
        self._traffic = Traffic(MODEL, texts, RERANKER, long_texts)
        self._vectors = vectors
        self._scores = scores
        self._client = Client("127.0.0.1", server.port)
        self.outcomes: Counter[str] = Counter()
        self._texts_done = 0

    async def run(self, seconds: float, overload: float) -> dict[str, Any]:
        """Saturate, overload, end."""
        saturating = asyncio.create_task(closed_loop(self._send, _CALLERS, _SATURATING_SECONDS))
        await asyncio.sleep(_SATURATING_SECONDS)
        saturation = self._texts_done / _SATURATING_SECONDS
        await saturating
        before, self.outcomes = self.outcomes, Counter()
        rate = overload * saturation / self._traffic.texts_per_request
        watching = asyncio.create_task(self._watch(seconds))
        samples = await open_loop(self._send, rate, seconds)
        memory = await watching
        outcomes, self.outcomes = self.outcomes, Counter()
        answered = [sample.seconds for sample in samples if sample.status == 200] or [float("nan")]
        ending = await self._end(rate)
        return {
            "saturation_texts_per_second": saturation,
            "requests_per_second": rate,
            "requests": sum(outcomes.values()),
            "outcomes": dict(outcomes.most_common()),
            "latency_s": dict(
                zip(("p50", "p95", "p99"), np.quantile(answered, [0.5, 0.95, 0.99]).tolist(), strict=True)
            ),
            "resident_bytes": _described(memory),
            "ending": ending,
            "wrong": _is_wrong(before + outcomes, ending),
        }

    async def _send(self, number: int) -> int:
        sent = self._traffic.next()
        good = sent if isinstance(sent, Question | Ranking) else None
        last = good is not None and good.last
        status, body = await self._client.ask(sent.data, alone=good is None, last=last)
        self.outcomes[judge(sent, status, body, self._vectors, self._scores)] += 1
        if status == 200 and good is not None:
            self._texts_done += len(good.positions)
        return status

    async def _watch(self, seconds: float) -> list[int]:
        """Resident bytes of the service, once a second."""
        process = psutil.Process(self._server.process.pid)
        memory = []
        with tqdm(total=int(seconds), desc="soak", unit="s") as bar:
            start = time.monotonic()
            while time.monotonic() - start < seconds:
                memory.append(process.memory_info().rss)
                await asyncio.sleep(1)
                bar.update()
        return memory

    async def _end(self, rate: float) -> dict[str, Any]:
        """SIGTERM while requests go on coming: whoever got a connection must get an answer."""

        async def tell() -> None:
            await asyncio.sleep(_LAST_SECONDS / 2)
            self._server.process.terminate()

        telling = asyncio.create_task(tell())
        await open_loop(self._send, rate, _LAST_SECONDS)
        await telling
        self._client.close()
        code = await asyncio.to_thread(self._server.wait)
        said = [line for line in self._server.said().splitlines() if not line.startswith("{")]
        return {"outcomes": dict(self.outcomes.most_common()), "exit_code": code, "not_logs": said[:5]}


def _is_wrong(outcomes: Counter[str], ending: dict[str, Any]) -> bool:
    """Whether anything happened that must not, or nothing at all."""
    return (
        any(each.startswith("WRONG") for each in (*outcomes, *ending["outcomes"]))
        or "no connection" in outcomes  # only at the end there is nobody to connect to
        or not all(any(each.startswith(right) for each in outcomes) for right in _RIGHT)
        or ending["exit_code"] != 0
        or bool(ending["not_logs"])
    )


def _described(memory: list[int]) -> dict[str, Any]:
    """Medians of the second and of the last third; the first is for warming up."""
    third = max(1, len(memory) // 3)
    return {
        "early": float(np.median(memory[third : 2 * third])),
        "late": float(np.median(memory[-third:])),
        "highest": max(memory),
        "every_second": memory,
    }


def _in_words(results: dict[str, Any]) -> str:
    memory, ending = results["resident_bytes"], results["ending"]
    lines = [
        f"{results['shape']}, int8, {results['threads']} thread(s), {results['minutes']:g} minutes at "
        f"{results['overload']:g} times saturation: {results['requests']} requests",
        *(f"  {count:8d}  {outcome}" for outcome, count in results["outcomes"].items()),
        f"resident memory {memory['early'] / 1e6:.0f} MB early, {memory['late'] / 1e6:.0f} MB late",
        f"after SIGTERM under the same load, exit code {ending['exit_code']}:",
        *(f"  {count:8d}  {outcome}" for outcome, count in ending["outcomes"].items()),
    ]
    return "\n".join([*lines, *ending["not_logs"]])


if __name__ == "__main__":
    sys.exit(main())
