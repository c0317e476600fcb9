"""ONNX Runtime's GPU backend, on a library that puts everything on the CPU and keeps what it was asked."""

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest

from gpu.simulated.onnxruntime_gpu import ALL, Library
from m3e_runtime import Bundle, BundleError, EngineMissingError, Reranker
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.errors import EngineRunError
from m3e_runtime.gpu import onnxruntime_backend, providers
from m3e_runtime.gpu.batch_shapes import PaddedLayout
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.onnxruntime_backend import OnnxRuntimeGpu
from m3e_runtime.gpu.tensorrt import default_profiles
from scoring_bundles import random_pairs

GPU = Gpu(1, "NVIDIA L4", "8.9")


@pytest.fixture
def library(monkeypatch):
    return Library().install(monkeypatch)


@pytest.fixture(scope="module")
def model(tiny_bundle) -> Path:
    bundle = Bundle.open(tiny_bundle)
    (artifact,) = (a for a in bundle.manifest.artifacts if (a.target, a.precision) == ("cpu", "fp32"))
    return bundle.resolve(artifact.files[0])


@pytest.fixture
def backend(library, model):
    return OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)


@pytest.fixture(scope="module")
def token_ids():
    random = np.random.default_rng(7)
    lengths = [*range(2, 40), 64, 65, 100, 300, 512]
    return [random.integers(104, 2000, length).astype(np.int32) for length in lengths]


@pytest.fixture(scope="module")
def expected(model, token_ids):
    engine = OnnxRuntimeCpu(model, 1, 64)
    return np.stack([engine.run([ids])[0] for ids in token_ids])


def test_one_text_and_many_give_what_the_cpu_gives(backend, token_ids, expected):
    for _ in range(3):
        assert np.abs(backend.run(token_ids) - expected).max() < 1e-5
        for ids, vector in zip(token_ids, expected, strict=True):
            found = backend.run([ids])
            assert found.shape == (1, 64)
            assert np.abs(found[0] - vector).max() < 1e-5


def test_types_of_tokens_are_given_to_the_model(library, scoring_bundles):
    reranker = Reranker.load(scoring_bundles[1], artifact="fp32-cpu")
    model = reranker.bundle.resolve(reranker.artifact.files[0])
    backend = OnnxRuntimeGpu(model, GPU, PaddedLayout(512, token_types=True), 1)
    tokens = reranker.tokenize(random_pairs(12))
    expected = reranker._backend.run(tokens.ids, None, tokens.types)
    for _ in range(3):
        assert np.abs(backend.run(tokens.ids, None, tokens.types) - expected).max() < 1e-5
        for ids, types, logits in zip(tokens.ids, tokens.types, expected, strict=True):
            assert np.abs(backend.run([ids], None, [types])[0] - logits).max() < 1e-5
    untyped = reranker._backend.run(tokens.ids)
    assert np.abs(backend.run(tokens.ids) - untyped).max() < 1e-5
    assert np.abs(untyped - expected).max() > 1e-3
    with pytest.raises(BundleError, match="token_type_ids"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 1)


def test_a_size_that_comes_again_is_recorded_in_its_own_buffers(library, backend, token_ids):
    for _ in range(3):
        for ids in token_ids[:4]:  # 2 to 5 tokens: one size
            backend.run([ids])
    runs = library.sessions[0].runs
    assert [number for number, _ in runs] == [-1] + [1] * 11
    assert len({id(binding) for number, binding in runs if number == 1}) == 1
    backend.run([token_ids[20]])
    backend.run([token_ids[20]])
    assert [number for number, _ in runs[-2:]] == [-1, 2]


def test_large_batches_are_not_recorded(library, backend, token_ids):
    for _ in range(3):
        backend.run(token_ids[-1:] * 5)
    assert [number for number, _ in library.sessions[0].runs] == [-1, -1, -1]


def test_no_more_is_recorded_than_may_be_kept(library, backend, token_ids, expected, monkeypatch):
    monkeypatch.setattr(onnxruntime_backend, "RECORDED_SIZES", 2)
    for _ in range(3):
        for ids, vector in zip(token_ids, expected, strict=True):
            assert np.abs(backend.run([ids])[0] - vector).max() < 1e-5
    numbers = [number for number, _ in library.sessions[0].runs]
    assert set(numbers) == {-1, 1, 2}


def test_vectors_stay_when_others_are_computed(backend, token_ids, expected):
    found = [backend.run([ids])[0] for ids in token_ids * 2]
    assert np.abs(np.stack(found) - np.concatenate([expected, expected])).max() < 1e-5


def test_many_threads_get_their_own_vectors(backend, token_ids, expected):
    def work(start):
        for at in range(start, len(token_ids), 2):
            assert np.abs(backend.run([token_ids[at]])[0] - expected[at]).max() < 1e-5

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, start % 2) for start in range(16)]:
            done.result(timeout=60)


def test_memory_does_not_grow_with_the_number_of_runs(backend, token_ids):
    def resident():
        gc.collect()
        return psutil.Process().memory_info().rss

    for _ in range(3):
        backend.run(token_ids)
    before = resident()
    for _ in range(30):
        backend.run(token_ids)
    assert resident() - before < 32 << 20


def test_options_name_the_gpu_and_bound_its_memory(library, model):
    OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64, memory_limit=123)
    session = library.sessions[0]
    assert session.provider == "CUDAExecutionProvider"
    options = session.options
    assert options["device_id"] == "1"
    assert options["gpu_mem_limit"] == "123"
    assert options["use_tf32"] == "0"
    assert options["enable_cuda_graph"] == "1"
    assert int(options["sdpa_kernel"]) & 2, "the mask's row starts are for the memory-efficient kernel"
    assert "enable_skip_layer_norm_strict_mode" not in options


def test_normalization_is_strict_where_it_would_sum_in_half(library, model):
    library.__version__ = "1.27.3"
    OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)
    assert library.sessions[0].options["enable_skip_layer_norm_strict_mode"] == "1"


def test_a_session_that_cannot_record_runs_without(library, model, token_ids, expected):
    library.refuses_recording = "This session cannot use the graph capture feature as requested by the user"
    backend = OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)
    assert not backend.records
    assert library.sessions[0].options["enable_cuda_graph"] == "0"
    for _ in range(3):
        assert np.abs(backend.run([token_ids[0]])[0] - expected[0]).max() < 1e-5
    assert {number for number, _ in library.sessions[0].runs} == {-1}


@pytest.mark.parametrize("backend", ["onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx"])
def test_tensorrts_providers_get_profiles_and_a_cache(library, model, backend, tmp_path):
    library.available = [*ALL, "NvTensorRTRTXExecutionProvider"]
    profiles = default_profiles(512)
    engine = OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64, backend, profiles, tmp_path)
    options = library.sessions[0].options
    prefix = "nv" if backend.endswith("rtx") else "trt"
    assert options["device_id"] == "1"
    least, most = (options[f"{prefix}_profile_{at}_shapes"].split(",") for at in ("min", "max"))
    assert least == ["input_ids:1x1", "attention_mask:1x1"] * len(profiles)
    assert most[:4] == [
        "input_ids:1x512",
        "attention_mask:1x512",
        "input_ids:256x64",
        "attention_mask:256x64",
    ]
    assert str(tmp_path) in options.values()
    assert engine.most_texts(64) == 256
    assert engine.most_texts(65) == 64
    assert engine.most_texts(512) == 32


def test_the_package_for_cpus_is_told_apart(library, model):
    library.available = ["CPUExecutionProvider"]
    with pytest.raises(EngineMissingError, match=r"package for CPUs.*m3e-runtime\[gpu\]"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)


def test_a_provider_that_is_not_in_the_package_is_named(library, model):
    with pytest.raises(EngineMissingError, match="has no NvTensorRTRTXExecutionProvider; it has Tensorrt"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64, "onnxruntime-tensorrt-rtx")


def test_falling_back_to_the_cpu_is_an_error(library, model):
    library.starts = False
    with pytest.raises(EngineMissingError, match=r"cannot start CUDAExecutionProvider on NVIDIA L4"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 64)


def test_a_model_that_is_refused_or_not_a_bundles_is_an_error(library, model, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match="cannot load it"):
        OnnxRuntimeGpu(tmp_path / "model.onnx", GPU, PaddedLayout(512), 64)
    with pytest.raises(BundleError, match="65 dimensions"):
        OnnxRuntimeGpu(model, GPU, PaddedLayout(512), 65)


def test_a_run_that_fails_says_so_in_the_librarys_words_and_the_next_one_works(
    library, backend, token_ids, expected
):
    library.sessions[0].fails = "CUDA error 2: out of memory"
    with pytest.raises(EngineRunError, match=r"onnxruntime-cuda 1\.31\.1: CUDA error 2: out of memory"):
        backend.run([token_ids[0]])
    library.sessions[0].fails = None
    assert np.abs(backend.run([token_ids[0]])[0] - expected[0]).max() < 1e-5


def test_the_installed_package_is_asked(monkeypatch):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the package for GPUs is installed")
    with pytest.raises(EngineMissingError, match="package for CPUs"):
        providers.check_provider("onnxruntime")
