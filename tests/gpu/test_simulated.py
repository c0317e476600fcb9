"""The whole GPU path on a driver that keeps device memory on the host: cuda-bindings are the real ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIMULATED = Path(__file__).parent / "simulated"


@pytest.fixture(scope="module")
def driver_library(tmp_path_factory):
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run(["cc", *flags, "-o", str(library), str(SIMULATED / "driver.c")], check=True)
    return library


def test_on_the_simulated_driver(driver_library):
    """In a process of its own, which has the simulated library before any other."""
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    environment = {**os.environ, "M3E_SIMULATED_DRIVER": str(driver_library)}
    command = [sys.executable, "-m", "pytest", str(SIMULATED), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
