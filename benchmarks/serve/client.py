"""A client that costs little: where cores are few, it takes its time from the server that it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httptools
import numpy as np

__all__ = ["Client", "Sample", "closed_loop", "open_loop", "post"]

_FAILED = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: which, when it was due, how long it took from then, and what came back."""

    request: int
    due: float
    seconds: float
    status: int
    body: bytes


def post(path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """A whole request as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        self.closed |= not self._parser.should_keep_alive()
        if answer is not None and not answer.done():
            answer.set_result((self._parser.get_status_code(), b"".join(self._body)))
        self._body = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed without an answer"))

    def close(self) -> None:
        self._transport.close()


class Client:
    """Connections to one server, as many as requests are under way."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: list[_Connection] = []

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; status 0 where none came."""
        try:
            connection = await self._connection()
            answer = await connection.ask(request)
        except OSError:
            return _FAILED, b""
        if connection.closed:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection


async def open_loop(
    client: Client,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    seed: int = 0,
    keep: Callable[[int], bool] = lambda number: False,
) -> list[Sample]:
    """Send at Poisson times whether or not answers come; latency counts from when a request was due.

    Args:
        client: where to.
        requests: in turn.
        rate: requests a second.
        seconds: for how long new ones are sent.
        seed: of the times.
        keep: whether the body of the answer to that request is kept.
    """
    random = np.random.default_rng(seed)
    dues = np.cumsum(random.exponential(1 / rate, int(rate * seconds * 1.5) + 10))
    dues = dues[dues < seconds]
    samples: list[Sample] = []
    start = time.perf_counter()

    async def one(number: int, due: float) -> None:
        status, body = await client.ask(requests[number % len(requests)])
        taken = time.perf_counter() - start - due
        samples.append(Sample(number, due, taken, status, body if keep(number) else b""))

    tasks: set[asyncio.Task[None]] = set()
    for number, due in enumerate(dues.tolist()):
        if (wait := start + due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return samples


async def closed_loop(
    client: Client, requests: Sequence[bytes], callers: int, seconds: float
) -> list[Sample]:
    """``callers`` that each send their next request when they have the answer to the last."""
    samples: list[Sample] = []
    start = time.perf_counter()
    numbers = iter(range(1 << 60))

    async def caller() -> None:
        while (begin := time.perf_counter()) - start < seconds:
            number = next(numbers)
            status, _ = await client.ask(requests[number % len(requests)])
            samples.append(Sample(number, begin - start, time.perf_counter() - begin, status, b""))

    await asyncio.gather(*(caller() for _ in range(callers)))
    return samples
