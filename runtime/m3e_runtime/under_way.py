"""Calls into native code that are in progress. The interpreter must not exit during one.

CPython before 3.14 kills a daemon thread that returns from C++ or Rust while the interpreter exits. Both
languages respond with ``abort()``: exit code 134 and a core dump.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["interruptible", "stop_calls", "under_way"]

LONGEST_WAIT = 10.0
"""Seconds that the exit waits for calls that do not stop. A driver may hang."""

_LOOKS_APART = 0.001  # seconds

_INTERRUPTS_APART = 0.05
"""Seconds until a wait on Windows notices Ctrl-C."""

_T = TypeVar("_T")
_Call = tuple[int, Callable[[], None]]  # the thread, and what makes the call return early

# Each access to this dictionary is a single atomic operation. A lock could be held by another thread
# during fork().
_calls: dict[object, _Call] = {}
_ended_by: int | None = None


@contextmanager
def under_way(stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Mark a call that releases the global interpreter lock.

    Args:
        stop: makes the call return early. It is called from another thread when the interpreter exits.

    Raises:
        SystemExit: the interpreter exits and does not wait for this thread. It ends silently; CPython would
            have killed it.
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
    """Make the calls in progress in ``threads`` (values of ``get_ident()``) return early with an error."""
    for thread, stop in list(_calls.values()):
        if thread in threads:
            stop()


def interruptible(work: Callable[[], _T], stop: Callable[[], None]) -> _T:
    """Run ``work`` so that signal handlers run during it, if this is the thread that runs them.

    Args:
        work: a long call that does not check for signals.
        stop: makes it return early; called when a handler raises.
    """
    if threading.current_thread() is not threading.main_thread() or _ended_by is not None:
        return work()
    from concurrent.futures import Future  # here, because it imports `logging`, which is slow

    result: Future[_T] = Future()
    helper = threading.Thread(target=_settle, args=(result, work), name="m3e-run", daemon=True)
    try:
        started = _start(helper)
        return _result_of(result) if started else work()
    finally:  # a handler may raise while the helper starts, too
        if not result.done():
            stop()
            with suppress(RuntimeError):  # it has not started
                helper.join()


def _start(helper: threading.Thread) -> bool:
    try:
        helper.start()
    except RuntimeError:  # the system grants no more threads, or the interpreter exits
        return False
    return True


def _result_of(future: Future[_T]) -> _T:
    """Wait for a result. On Windows a wait without a limit cannot be interrupted."""
    if os.name == "nt":
        from concurrent.futures import wait

        while not wait([future], _INTERRUPTS_APART).done:
            pass
    return future.result()


def _is_over() -> bool:
    return _ended_by not in (None, threading.get_ident())


def _settle(result: Future[_T], work: Callable[[], _T]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)


def _end() -> None:
    """Stop the calls of other threads and wait for them. This runs last before the interpreter exits."""
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
