"""What is measured of a server: what it adds to one call, its throughput, its latency under load."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.serve.client import Client, Sample, closed_loop, open_loop, post
from benchmarks.serve.servers import MODEL, Server
from benchmarks.workers import Worker
from benchmarks.workloads import single, token_lengths

__all__ = ["Duration", "added_latency", "latency_under_load", "throughput", "vectors"]

_QUERY_TOKENS = 12
_CALLS = 40  # in each turn
_LEAST_ANSWERS = 8  # after the first of each caller, however slow the server is
_OK = 200


@dataclass(frozen=True)
class Duration:
    """How much is measured.

    Attributes:
        rounds: turns of everyone.
        seconds: of one turn at saturation.
        loaded_seconds: of one rate of arrivals.
        warm_seconds: before anything counts, of both.
    """

    rounds: int
    seconds: float
    loaded_seconds: float
    warm_seconds: float


class _Requests:
    """Requests of ``size`` texts each, in turn, and their tokens."""

    def __init__(self, server: Server, texts: Sequence[str], size: int) -> None:
        groups = [list(texts[at : at + size]) for at in range(0, len(texts), size)]
        self.bodies = [_request(server, group) for group in groups]
        self.tokens = [sum(token_lengths(group)) for group in groups]
        self._client = Client("127.0.0.1", server.port)

    async def send(self, number: int) -> int:
        """Status of the answer to the request of that number."""
        status, _ = await self._client.ask(self.bodies[number % len(self.bodies)])
        return status

    def close(self) -> None:
        self._client.close()


def vectors(server: Server, texts: Sequence[str]) -> np.ndarray:
    """The server's vectors of ``texts``, float64 ``[n, d]``, scaled to unit length."""

    async def ask() -> tuple[int, bytes]:
        return await Client("127.0.0.1", server.port).ask(_request(server, list(texts)), alone=True)

    status, body = asyncio.run(ask())
    if status != _OK:
        raise SystemExit(f"{server.name} answers {status}")
    raw = np.array([each["embedding"] for each in json.loads(body)["data"]])
    unit: np.ndarray = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


async def added_latency(servers: Sequence[Server], bare: Worker, rounds: int) -> dict[str, Any]:
    """Seconds of a short query at one client, in turn with the call of the encoder in its own process."""
    query = single(_QUERY_TOKENS)
    loads = {server.name: _Requests(server, [query], 1) for server in servers}
    seconds: dict[str, list[float]] = {name: [] for name in ("encode", *loads)}
    for _ in tqdm(range(rounds), desc="one client"):
        seconds["encode"] += bare.ask(do="time", texts=[query], repeats=_CALLS)["seconds"]
        for name, load in loads.items():
            seconds[name] += await _one_after_the_other(load)
    for load in loads.values():
        load.close()
    return {name: _percentiles(found) for name, found in seconds.items()}


async def throughput(
    servers: Sequence[Server],
    bare: Worker,
    texts: list[str],
    size: int,
    callers: int,
    duration: Duration,
) -> dict[str, Any]:
    """Tokens a second of ``callers`` who always wait for an answer, in turn with the encoder on all texts."""
    tokens = sum(token_lengths(texts))
    loads = {server.name: _Requests(server, texts, size) for server in servers}
    rates: dict[str, list[float]] = {name: [] for name in ("encode", *loads)}
    statuses: dict[str, Counter[int]] = {name: Counter() for name in loads}
    bare.ask(do="time", texts=texts[:size], repeats=1)
    for _ in tqdm(range(duration.rounds), desc=f"saturation, {size} text(s) a request"):
        rates["encode"] += [tokens / bare.ask(do="time", texts=texts, repeats=1)["seconds"][0]]
        for name, load in loads.items():
            whole = duration.warm_seconds + duration.seconds
            samples, end = await closed_loop(load.send, callers, whole, callers + _LEAST_ANSWERS)
            statuses[name].update(sample.status for sample in samples)
            rates[name].append(_tokens_per_second(samples, load.tokens, duration.warm_seconds, end))
    for load in loads.values():
        load.close()
    return {
        name: {
            "tokens_per_second": statistics.median(found),
            "rounds": found,
            **_not_answered(statuses.get(name, Counter())),
        }
        for name, found in rates.items()
    }


async def latency_under_load(
    server: Server, texts: list[str], rate: float, duration: Duration
) -> dict[str, Any]:
    """Latency of single texts that arrive as a Poisson process of ``rate`` requests a second."""
    load = _Requests(server, texts, 1)
    warm = duration.warm_seconds
    samples = await open_loop(load.send, rate, warm + duration.loaded_seconds)
    load.close()
    counted = [sample for sample in samples if sample.due >= warm]
    answered = [sample.seconds for sample in counted if sample.status == _OK]
    return {
        "rate": rate,
        "requests": len(counted),
        **_not_answered(Counter(sample.status for sample in counted)),
        **(_percentiles(answered) if answered else {}),
    }


async def _one_after_the_other(load: _Requests) -> list[float]:
    seconds = []
    for number in range(_CALLS):
        start = time.perf_counter()
        if await load.send(number) != _OK:
            raise SystemExit("a short query is not answered; nothing can be measured")
        seconds.append(time.perf_counter() - start)
    return seconds


def _tokens_per_second(samples: Sequence[Sample], tokens: list[int], start: float, end: float) -> float:
    """Between the last answers before the two times, so that work of many texts is counted whole."""
    times = np.array([sample.due + sample.seconds for sample in samples if sample.status == _OK])
    counts = np.array([tokens[sample.request % len(tokens)] for sample in samples if sample.status == _OK])
    first, last = (max(times[times < limit], default=0.0) for limit in (start, end))
    if last <= first:
        raise SystemExit("no answer came; nothing can be measured")
    return float(counts[(times > first) & (times <= last)].sum() / (last - first))


def _request(server: Server, texts: list[str]) -> bytes:
    content = {"model": MODEL, "input": texts if len(texts) > 1 else texts[0]}
    return post(server.path, json.dumps(content, ensure_ascii=False).encode())


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.quantile(seconds, [0.5, 0.95, 0.99], method="inverted_cdf").tolist()
    return {"p50_s": p50, "p95_s": p95, "p99_s": p99, "worst_s": max(seconds), "calls": len(seconds)}


def _not_answered(statuses: Counter[int]) -> dict[str, Any]:
    """How often which other status than 200 came."""
    return {"not_answered": {str(status): count for status, count in statuses.items() if status != _OK}}
