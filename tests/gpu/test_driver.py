"""What is said of a GPU: with no driver, with one that refuses, and with one that shows some GPU."""

import shutil
import subprocess
import sys

import msgspec
import pytest

from m3e_runtime import Bundle, Encoder, EngineMissingError, OptionError
from m3e_runtime.backends import choose, device
from m3e_runtime.backends.choice import why_not_here
from m3e_runtime.gpu import driver as driver_module
from m3e_runtime.gpu.driver import Gpu, find_gpu
from m3e_runtime.manifest import Artifact

# As much of libcuda as is asked; what it answers is in the environment.
DRIVER = """
#include <stdlib.h>
#include <string.h>
static int number(const char *name) { const char *text = getenv(name); return text ? atoi(text) : 0; }
int cuInit(unsigned flags) { (void)flags; return number("FAKE_STATUS"); }
int cuDeviceGetCount(int *count) { *count = number("FAKE_COUNT"); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
  strncpy(name, device == 41 ? "NVIDIA L4" : "NVIDIA Other", (size_t)size);
  return 0;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
  (void)device;
  *value = which == 75 ? number("FAKE_MAJOR") : which == 76 ? number("FAKE_MINOR") : -1;
  return 0;
}
int cuGetErrorName(int status, const char **name) {
  *name = status == 100 ? "CUDA_ERROR_NO_DEVICE" : 0;
  return *name ? 0 : 1;
}
"""


@pytest.fixture(scope="module")
def driver_library(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    library = folder / "libcuda.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return library


@pytest.fixture
def driver(driver_library, monkeypatch):
    """Put the driver in place; returns what sets its answers."""
    monkeypatch.setattr(driver_module, "_DRIVER", str(driver_library))

    def answers(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"FAKE_{name.upper()}", str(value))

    answers(status=0, count=2, major=8, minor=9)
    return answers


@pytest.fixture
def no_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(driver_module, "_DRIVER", str(tmp_path / "libcuda.so.1"))


@pytest.fixture
def engine(tiny_bundle) -> Artifact:
    """An engine as it stands in a manifest."""
    artifact = Bundle.open(tiny_bundle).manifest.artifacts[0]
    requires = {"tensorrt_rtx": "1.7", "compute_capabilities": "8.6 8.9"}
    return msgspec.structs.replace(artifact, name="engine", format="tensorrt", requires=requires)


def test_the_driver_tells_name_and_compute_capability(driver):
    assert find_gpu(1) == Gpu(1, "NVIDIA L4", "8.9")


def test_a_missing_driver_is_one_clear_sentence(no_driver):
    with pytest.raises(EngineMissingError, match="no NVIDIA driver here"):
        find_gpu()


@pytest.mark.parametrize(("status", "word"), [(100, "CUDA_ERROR_NO_DEVICE"), (999, "error 999")])
def test_a_driver_that_refuses_is_quoted(driver, status, word):
    driver(status=status)
    with pytest.raises(EngineMissingError, match=f"cuInit says {word}"):
        find_gpu()


@pytest.mark.parametrize("index", [2, -1])
def test_a_gpu_that_is_not_there_is_named(driver, index):
    with pytest.raises(EngineMissingError, match=f"no GPU {index}: the NVIDIA driver shows 2"):
        find_gpu(index)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_a_gpu_that_was_asked_for_is_not_replaced_by_the_cpu(tiny_bundle, device, no_driver):
    with pytest.raises(EngineMissingError, match="no NVIDIA driver here"):
        Encoder.load(tiny_bundle, device=device)


def test_a_gpu_that_is_too_old_is_one_clear_sentence(tiny_bundle, driver):
    driver(major=6, minor=1)
    with pytest.raises(EngineMissingError, match=r"NVIDIA L4 has compute capability 6\.1, at least 7\.5"):
        Encoder.load(tiny_bundle, device="cuda:1")


@pytest.mark.parametrize("device", ["cuda", "tensorrt:1"])
def test_a_bundle_with_nothing_for_a_gpu_says_how_to_make_one(tiny_bundle, device, driver):
    with pytest.raises(OptionError, match=r"cannot run .*--target cuda"):
        Encoder.load(tiny_bundle, device=device)


@pytest.mark.parametrize("device", ["cuda0", "cuda:", "gpu", "tensorrt-1", ""])
def test_an_unknown_device_is_refused_with_those_known(tiny_bundle, device):
    with pytest.raises(OptionError, match=r"'auto', 'cpu', 'cuda'"):
        Encoder.load(tiny_bundle, device=device)


def test_auto_takes_the_cpu_and_asks_no_driver_where_the_bundle_has_nothing_for_a_gpu(
    tiny_bundle, monkeypatch
):
    monkeypatch.setattr(device, "find_gpu", lambda index: pytest.fail("the driver was asked"))
    encoder = Encoder.load(tiny_bundle, device="auto")
    assert encoder.artifact.target in ("native", "cpu")
    assert encoder.info["device"] == "cpu"
    assert "the fastest on the CPU" in encoder.info["why"]


def with_artifact(bundle: Bundle, artifact: Artifact) -> Bundle:
    artifacts = (*bundle.manifest.artifacts, artifact)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, artifacts=artifacts))


def test_auto_takes_the_cpu_and_says_why_not_the_gpu(tiny_bundle, engine, no_driver):
    choice = choose(with_artifact(Bundle.open(tiny_bundle), engine))
    assert choice.gpu is None
    assert choice.artifact.name != "engine"
    assert "engine cannot be used, it is for a GPU, and there is no NVIDIA driver here" in choice.why


def test_a_cpu_that_was_asked_for_runs_no_engine_of_a_gpu(tiny_bundle, engine, driver):
    with pytest.raises(OptionError, match=r"device='cpu' cannot run engine.*--target native cpu"):
        choose(with_artifact(Bundle.open(tiny_bundle), engine), "cpu", "engine")


def test_an_engine_says_why_it_is_not_for_this_machine(engine, driver, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert "m3e-runtime[tensorrt-rtx]" in why_not_here(engine)
    driver(major=7, minor=0)
    assert "capability 7.0, at least 7.5" in why_not_here(engine)
    monkeypatch.setattr(driver_module, "_DRIVER", str(tmp_path / "none"))
    assert "no NVIDIA driver" in why_not_here(engine)
    assert "--target native cpu" in why_not_here(engine)
