"""Work on all cores whose results do not depend on their number.

Each item is computed by one thread, and so is each of its matrix products: BLAS adds in another order when it
has another number of threads.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from m3e_export.extras import extra_packages
from m3e_runtime.backends.unloading import return_free_memory
from m3e_runtime.threads import available_threads

__all__ = ["parallel_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items per thread that are submitted before the first result is taken: results take memory."""


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` for each of ``items``, in their order.

    NumPy's products and loops release the GIL. Until the last result is taken, the caller's products run in
    one thread too.
    """
    threads = available_threads()
    waiting: deque[Future[Result]] = deque()
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(copy_context().run, function, item))  # with numpy's errstate
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
    return_free_memory()  # each thread has freed memory of its own


@functools.cache
def _blas() -> Any:
    """Controls the BLAS libraries of this process. NumPy's is loaded by now."""
    with extra_packages():
        from threadpoolctl import ThreadpoolController
    return ThreadpoolController()
