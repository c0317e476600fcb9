"""These tests have a driver in the process that is not the machine's, so they run in a process of their own.

``tests/gpu/test_simulated.py`` starts it; collected among the others they would be skipped.
"""

import ctypes
import os
import sys
from pathlib import Path

import pytest

DRIVER = os.environ.get("M3E_SIMULATED_DRIVER")

collect_ignore_glob = [] if DRIVER else ["test_*.py"]

if DRIVER:
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    ctypes.CDLL(DRIVER, mode=ctypes.RTLD_GLOBAL)  # by its name, libcuda.so.1, everyone finds it from now on


@pytest.fixture
def driver():
    """The simulated driver, with what it counts."""
    library = ctypes.CDLL("libcuda.so.1")
    for name in ("device_bytes", "host_bytes", "streams", "graphs", "launches", "current"):
        getattr(library, f"simulated_{name}").restype = ctypes.c_long
    library.simulated_limit.argtypes = [ctypes.c_long]
    return library


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache for each test."""
    monkeypatch.setenv("M3E_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
