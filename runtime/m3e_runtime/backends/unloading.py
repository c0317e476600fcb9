"""Closing an engine on a CPU and returning its memory to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any, NoReturn

from m3e_runtime.errors import ClosedError

__all__ = ["Closed", "return_free_memory"]


class Closed:
    """Replaces an engine that is closed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ClosedError


def return_free_memory() -> None:
    """Return freed memory that the allocator keeps to the system. Only glibc's keeps much.

    glibc keeps freed memory that lies below memory in use.
    """
    trim = None if sys.is_finalizing() else _trim_function()
    if trim is not None:
        trim(0)


@cache
def _trim_function() -> Any:
    """``malloc_trim`` of glibc, or None elsewhere."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
