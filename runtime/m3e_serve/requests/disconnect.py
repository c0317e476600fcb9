"""Cancelling work for clients that have disconnected."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

__all__ = ["CancelOnDisconnect", "ClientDisconnectedError"]

_DELAY = 0.02
"""Seconds before a request is watched. Most are complete by then."""


class ClientDisconnectedError(Exception):
    """The client closed the connection before its request was complete."""


class CancelOnDisconnect:
    """A context manager that cancels its block when the client disconnects. The block then ends silently."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._disconnected = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_DELAY, self._start)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # it refers to this object: the cycle would keep the request in memory
        if self._disconnected and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            return True
        return False

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected = True
        if self._task is not None:
            self._task.cancel()
