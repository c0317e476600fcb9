"""Calls into engines and tokenizers that are under way: the interpreter must not end in the midst of one.

A daemon thread that comes back from C++ or Rust when the interpreter has begun to end is torn down there
(by CPython before 3.14), and both answer that with ``abort()``: exit code 134 and a core dump.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["interruptible", "stop_calls", "under_way"]

LONGEST_WAIT = 10.0
"""Seconds that the interpreter waits at its end for calls that do not stop: a driver may hang."""

_LOOKS_APART = 0.001  # seconds

_T = TypeVar("_T")
_Call = tuple[int, Callable[[], None]]  # the thread, and what makes the call return early

# Only single operations on this dictionary are made, each of which is atomic: a lock could be held by
# another thread during fork().
_calls: dict[object, _Call] = {}
_ended_by: int | None = None


@contextmanager
def under_way(stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Mark a call that releases the interpreter's lock.

    Args:
        stop: makes the call return early; called from another thread when the interpreter ends.

    Raises:
        SystemExit: the interpreter ends, and this is a thread that it does not wait for. Nobody is told: the
            thread would have been torn down.
    """
    key = object()
    _calls[key] = threading.get_ident(), stop
    try:
        if _is_over():
            raise SystemExit
        yield
    except Exception:
        if _is_over():  # it was made to return early
            raise SystemExit from None
        raise
    finally:
        _calls.pop(key, None)


def stop_calls(threads: Container[int]) -> None:
    """Make the calls that are under way in ``threads`` (their ``get_ident()``) return early with an error."""
    for thread, stop in list(_calls.values()):
        if thread in threads:
            stop()


def interruptible(work: Callable[[], _T], stop: Callable[[], None]) -> _T:
    """Run ``work`` so that handlers of signals run meanwhile, where this is the thread that runs them.

    Args:
        work: a long call that does not look at signals itself.
        stop: makes it return early; called when a handler raises.
    """
    if threading.current_thread() is not threading.main_thread() or _ended_by is not None:
        return work()
    result: Future[_T] = Future()
    helper = threading.Thread(target=_settle, args=(result, work), name="m3e-run", daemon=True)
    try:
        helper.start()
    except RuntimeError:  # no more threads are granted, or the interpreter ends
        return work()
    try:
        return result.result()
    finally:
        if not result.done():
            stop()
            helper.join()


def _is_over() -> bool:
    return _ended_by not in (None, threading.get_ident())


def _settle(result: Future[_T], work: Callable[[], _T]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)


def _end() -> None:
    """Stop the calls of other threads and wait for them. The last to run before the interpreter ends."""
    global _ended_by
    _ended_by = threading.get_ident()
    others = {key: thread for key, (thread, _) in list(_calls.items()) if thread != _ended_by}
    stop_calls(others.values())
    until = time.monotonic() + LONGEST_WAIT
    while any(key in _calls for key in others) and time.monotonic() < until:
        time.sleep(_LOOKS_APART)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.clear)  # the other threads are the parent's
