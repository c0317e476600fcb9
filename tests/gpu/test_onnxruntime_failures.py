"""What goes wrong between ONNX Runtime and a GPU, and what may not be left behind."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gpu.simulated.onnxruntime_gpu import Library
from m3e_runtime import Bundle, BundleError, EngineMissingError
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.errors import EngineRunError
from m3e_runtime.gpu import onnxruntime_backend
from m3e_runtime.gpu.batch_shapes import PaddedLayout
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.onnxruntime_backend import OnnxRuntimeGpu
from m3e_runtime.gpu.tensorrt import default_profiles

GPU = Gpu(1, "NVIDIA L4", "8.9")
IDS = np.arange(104, 110, dtype=np.int32)


class Watched(Library):
    """Keeps what each run was, and fails when told to."""

    def __init__(self):
        super().__init__()
        self.refuses = None
        self.allocates = True
        self.fails_recorded = False
        self.numbers, self.texts, self.threads = [], [], set()

    def InferenceSession(self, path, settings, providers, enable_fallback=1):  # noqa: N802 - the library's name
        if self.refuses:
            raise RuntimeError(self.refuses)
        session = super().InferenceSession(path, settings, providers, enable_fallback)
        run = session.run_with_iobinding

        def run_watched(binding, options):
            number = int(options.entries["gpu_graph_id"])
            self.numbers.append(number)
            self.threads.add(threading.get_ident())
            if self.fails_recorded and number > 0:
                raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")
            run(binding, options)
            self.texts.append(binding.copy_outputs_to_cpu()[0].shape[0])

        session.run_with_iobinding = run_watched
        return session

    def _allocate(self, shape, dtype, device, index):
        if not self.allocates:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1024")
        return Library._allocate(shape, dtype, device, index)


@pytest.fixture
def library(monkeypatch):
    return Watched().install(monkeypatch)


@pytest.fixture(scope="module")
def model(tiny_bundle) -> Path:
    bundle = Bundle.open(tiny_bundle)
    (artifact,) = (a for a in bundle.manifest.artifacts if (a.target, a.precision) == ("cpu", "fp32"))
    return bundle.resolve(artifact.files[0])


@pytest.fixture(scope="module")
def expected(model):
    return OnnxRuntimeCpu(model, 1, 64).run([IDS])


@pytest.fixture
def backend(library, model):
    return OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)


def test_one_thread_makes_all_runs(library, backend):
    """ONNX Runtime would record each size anew in each thread, and keep that when the thread has ended."""
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda length: backend.run([np.full(length, 104, np.int32)]), range(2, 20)))
    backend.run([IDS])
    assert len(library.threads) == 1


@pytest.mark.parametrize("closes", [True, False])
def test_the_thread_ends_with_the_backend(library, model, closes):
    before = set(threading.enumerate())
    backend = OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)
    backend.run([IDS])
    (own,) = set(threading.enumerate()) - before
    if closes:
        backend.close()
        backend.close()
    del backend
    gc.collect()
    own.join(timeout=10)
    assert not own.is_alive()


def test_a_size_that_cannot_be_recorded_is_computed_all_the_same(library, backend, expected, monkeypatch):
    monkeypatch.setattr(onnxruntime_backend, "RECORDED_SIZES", 3)
    library.fails_recorded = True
    for _ in range(6):
        assert np.abs(backend.run([IDS]) - expected).max() < 1e-5
    # A number is used once, and when there are no more nobody tries.
    assert library.numbers == [-1, 1, -1, 2, -1, 3, -1, -1, -1]


def test_a_recording_that_was_spoilt_is_made_anew(library, backend, expected):
    backend.run([IDS])
    library.fails_recorded = True
    backend.run([IDS])
    library.fails_recorded = False
    for _ in range(2):
        assert np.abs(backend.run([IDS]) - expected).max() < 1e-5
    assert library.numbers == [-1, 1, -1, 2, 2]


def test_no_memory_for_buffers_is_a_run_that_failed(library, backend, expected):
    library.allocates = False
    for _ in range(2):  # in buffers for this run, and then in those that stay
        with pytest.raises(EngineRunError, match="Failed to allocate memory"):
            backend.run([IDS])
    library.allocates = True
    assert np.abs(backend.run([IDS]) - expected).max() < 1e-5


def test_sizes_of_large_batches_are_not_remembered(backend):
    for texts in range(5, 9):
        backend.run([np.full(512, 104, np.int32)] * texts)
    assert backend._met == set()


def test_rounding_up_stays_within_the_profiles(library, model):
    """16384 // 100 texts are the most, and 161 would be rounded up to 192."""
    profiles = default_profiles(100)
    batch = [IDS] * 161
    assert OnnxRuntimeGpu(model, GPU, PaddedLayout(100), 64, profiles=profiles).run(batch).shape == (161, 64)
    only = OnnxRuntimeGpu(model, GPU, PaddedLayout(100), 64, profiles=profiles[-1:])
    assert only.most_texts(100) == 163
    assert only.run(batch).shape == (161, 64)
    assert library.texts == [192, 161]  # the profile of 64 tokens takes 256 texts


def test_what_is_missing_of_cuda_is_said_and_not_printed(library, model, capsys):
    def preload_dlls():
        sys.stdout.write("Failed to load libcublasLt.so.13: cannot open shared object file\nPlease follow\n")

    library.preload_dlls = preload_dlls
    library.starts = False
    with pytest.raises(EngineMissingError, match=r"L4: Failed to load libcublasLt\.so\.13: .*pip install"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)
    assert capsys.readouterr().out == ""


def test_onnx_runtimes_own_way_back_to_the_cpu_is_shut(library, backend):
    assert library.fallbacks == [0]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version", EngineMissingError),
        ("CUDA failure 2: out of memory ; GPU=1", EngineRunError),
        ("Failed to allocate memory for requested buffer of size 94371840", EngineRunError),
        ("Load model failed: Fatal error: com.acme:Op is not a registered op", BundleError),
    ],
)
def test_what_the_device_says_is_not_blamed_on_the_model(library, model, words, error):
    library.refuses = words
    with pytest.raises(error) as raised:
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)
    assert type(raised.value) is error
    assert words in str(raised.value)


def test_a_process_forked_off_is_told_so_and_does_not_wait(backend, monkeypatch):
    monkeypatch.setattr(onnxruntime_backend.os, "getpid", lambda: -1)
    with pytest.raises(EngineRunError, match="forked off"):
        backend.run([IDS])
