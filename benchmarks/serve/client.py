"""A client that costs little: where cores are few, it takes its time from the server that it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httptools
import numpy as np

__all__ = ["NO_ANSWER", "NO_CONNECTION", "Client", "Sample", "closed_loop", "open_loop", "post"]

_KEPT = 4.0  # seconds: idle connections are given up before a server does, uvicorn after 5 by default
_PATIENCE = 120.0  # seconds

NO_ANSWER = 0
"""In place of a status: the request was sent, and no answer came, or the connection was closed instead."""

NO_CONNECTION = -1
"""In place of a status: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: which, when it was due, how long it took from then, and how it was answered."""

    request: int
    due: float
    seconds: float
    status: int


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
        self._answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    async def ask(self, request: bytes, last: bool) -> tuple[int, bytes]:
        self.asked += 1
        self._transport.write(request)  # type: ignore[attr-defined]
        if last:
            self._transport.write_eof()  # type: ignore[attr-defined]
        answer = await self._answer  # a server that is full may have sent it before
        self._answer = asyncio.get_running_loop().create_future()
        return answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.closed |= not self._parser.should_keep_alive()
        if not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))
        self._body = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._answer.done():
            self._answer.set_exception(ConnectionError("closed without an answer"))
            self._answer.exception()  # nobody may be waiting

    def close(self) -> None:
        self._transport.close()


class Client:
    """Connections to one server, as many as requests are under way."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: list[tuple[float, _Connection]] = []  # since when

    async def ask(self, request: bytes, alone: bool = False, last: bool = False) -> tuple[int, bytes]:
        """Status and body of the answer; where there is none, the reason in place of a body.

        Args:
            request: as :func:`post` gives it, or any bytes at all.
            alone: on a connection of its own, which is closed then.
            last: end the sending side of the connection after the request, before the answer.
        """
        try:
            connection = await (self._connect() if alone else self._connection())
        except OSError:
            return NO_CONNECTION, b""
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await connection.ask(request, last)
        except OSError as error:  # TimeoutError is one
            connection.close()
            reason = str(error) or "timed out"  # a TimeoutError has no text
            return NO_ANSWER, f"{reason}, request {connection.asked} of its connection".encode()
        if connection.closed or alone or last:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        return answer

    def close(self) -> None:
        """Close what is idle."""
        for _, connection in self._idle:
            connection.close()

    async def _connection(self) -> _Connection:
        while self._idle:
            since, connection = self._idle.pop()
            if not connection.closed and time.monotonic() - since < _KEPT:
                return connection
            connection.close()
        return await self._connect()

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection


async def open_loop(send: Callable[[int], Awaitable[int]], rate: float, seconds: float) -> list[Sample]:
    """Send at Poisson times whether or not answers come; latency counts from when a request was due.

    Args:
        send: sends the request of that number, and gives the status of its answer.
        rate: requests a second.
        seconds: for how long new ones are sent.
    """
    random = np.random.default_rng(0)
    samples: list[Sample] = []
    start = time.perf_counter()

    async def one(number: int, due: float) -> None:
        status = await send(number)
        samples.append(Sample(number, due, time.perf_counter() - start - due, status))

    due, number = random.exponential(1 / rate), 0
    async with asyncio.TaskGroup() as group:
        while due < seconds:
            if (wait := start + due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(one(number, due))
            due, number = due + random.exponential(1 / rate), number + 1
    return samples


async def closed_loop(
    send: Callable[[int], Awaitable[int]], callers: int, seconds: float, answers: int = 0
) -> tuple[list[Sample], float]:
    """``callers`` that each send their next request when they have the answer to the last.

    They stop after ``seconds``, but not before there are ``answers``; then they wait for what they have sent.

    Returns:
        The requests, and the time at which the callers stopped.
    """
    samples: list[Sample] = []
    start = time.perf_counter()
    end = 0.0
    numbers = iter(range(1 << 60))

    async def caller() -> None:
        nonlocal end
        while (begin := time.perf_counter() - start) < seconds or len(samples) < answers:
            number = next(numbers)
            status = await send(number)
            samples.append(Sample(number, begin, time.perf_counter() - start - begin, status))
        end = end or begin

    await asyncio.gather(*(caller() for _ in range(callers)))
    return samples, end
