"""TensorRT's backend end to end: plans that fit and plans that do not, recording, lanes, memory."""

import ctypes
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

import gpu.simulated.tensorrt as simulated
from m3e_export import ExportRequest, export
from m3e_runtime import Bundle, BundleError, Encoder, EngineMissingError, Reranker
from m3e_runtime.errors import ClosedError, EngineBuildError, EngineRunError
from m3e_runtime.gpu import tensorrt_backend as backend_module
from m3e_runtime.gpu.cuda import CudaContext
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.tensorrt import plans
from m3e_runtime.gpu.tensorrt.build import BuiltEngine
from m3e_runtime.gpu.tensorrt.package import TensorRT
from scoring_bundles import random_pairs

VERSION = "1.7.1"
TOKENS = 64
PADDED = [
    {name: ([1, 1], [1, TOKENS]) for name in ("input_ids", "attention_mask")},
    {name: ([1, 1], [40, TOKENS]) for name in ("input_ids", "attention_mask")},
]


@pytest.fixture(autouse=True)
def package(monkeypatch):
    module = simulated.make_module(VERSION)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    return module


@pytest.fixture(autouse=True)
def builds(monkeypatch):
    """Engines that are built anew; each entry is the graph and the options."""
    built = []

    def build(trt, graph, options, show_progress=None):
        del show_progress
        built.append((graph, options))
        return BuiltEngine(simulated.make_plan(graph, PADDED), (), options.compute_capabilities)

    monkeypatch.setattr(plans, "build_engine", build)
    monkeypatch.setattr(plans, "choose_capabilities", lambda trt, wanted: wanted)
    return built


@pytest.fixture(scope="module")
def portable(tiny_checkpoint, tmp_path_factory):
    """A bundle with the graph that stands for an engine."""
    folder = tmp_path_factory.mktemp("portable") / "bundle"
    request = ExportRequest(str(tiny_checkpoint), folder, targets=("portable",), max_length=TOKENS)
    return export(request).path


@pytest.fixture
def make_bundle(portable, tmp_path):
    """Write a bundle with an engine beside the graph; keyword arguments change its artifact."""

    def make(plan=None, **changes):
        bundle = Bundle.open(portable)
        (artifact,) = bundle.manifest.artifacts
        graph = bundle.resolve(artifact.files[0])
        content = simulated.make_plan(graph, PADDED) if plan is None else plan
        return write_bundle(bundle, artifact, content, tmp_path / "bundle", changes)

    return make


def write_bundle(bundle, artifact, plan, folder, changes):
    import shutil

    from m3e_export.bundle_writer import entry_of, write_manifest

    shutil.copytree(bundle.path, folder)
    (folder / "tensorrt").mkdir()
    engine = folder / "tensorrt" / "model.engine"
    engine.write_bytes(plan)
    fields = {
        "name": "fp16-tensorrt-rtx",
        "format": "tensorrt",
        "dialect": "tensorrt",
        "precision": "fp16",
        "target": "tensorrt-rtx",
        "requires": {"tensorrt_rtx": VERSION, "compute_capabilities": "8.6 8.9"},
        "files": (entry_of(folder, engine), *artifact.files),
    }
    engine_artifact = msgspec.structs.replace(artifact, **(fields | changes))
    artifacts = (artifact, engine_artifact)
    write_manifest(folder, msgspec.structs.replace(bundle.manifest, artifacts=artifacts))
    return folder


@pytest.fixture(scope="module")
def expected(portable, texts):
    return Encoder.load(portable, device="cpu").encode(texts)


def load(folder, **options):
    return Encoder.load(folder, verify=False, **options)


def test_auto_takes_the_engine_and_gives_the_graphs_vectors(make_bundle, texts, expected, builds):
    encoder = load(make_bundle())
    assert encoder.artifact.name == "fp16-tensorrt-rtx"
    assert encoder.info["device"] == "Simulated GPU"
    assert "fastest on Simulated GPU" in encoder.info["why"]
    assert encoder.info["engine"] == f"tensorrt-rtx {VERSION}"
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5
    for text, vector in zip(texts, expected, strict=True):
        assert np.abs(encoder.encode(text) - vector).max() < 1e-5
    assert builds == []


def test_a_size_that_comes_again_is_recorded_and_launched_as_a_whole(make_bundle, texts, expected, driver):
    encoder = load(make_bundle())
    before = driver.simulated_launches(), driver.simulated_graphs()
    for _ in range(6):
        assert np.abs(encoder.encode(texts[0]) - expected[0]).max() < 1e-5
    assert driver.simulated_graphs() == before[1] + 1
    assert driver.simulated_launches() == before[0] + 4  # met, then run and recorded, then four launches
    other = next(i for i, text in enumerate(texts) if encoder.tokenizer.encode(text).size == 2)
    assert np.abs(encoder.encode(texts[other]) - expected[other]).max() < 1e-5


def test_what_is_recorded_is_bounded_and_everything_is_given_back(make_bundle, driver, monkeypatch):
    gc.collect()
    before = [driver.simulated_device_bytes(), driver.simulated_host_bytes(), driver.simulated_graphs()]
    before.append(driver.simulated_streams())
    monkeypatch.setattr(backend_module, "RECORDED_SIZES", 3)
    encoder = load(make_bundle())
    words = ["字" * n for n in range(1, 60, 6)]
    held = []
    for _ in range(3):
        for text in words:
            encoder.encode(text)
        held.append(driver.simulated_device_bytes())
        assert driver.simulated_graphs() <= before[2] + 3
    assert held[1] == held[2]
    encoder.close()
    after = [driver.simulated_device_bytes(), driver.simulated_host_bytes(), driver.simulated_graphs()]
    assert [*after, driver.simulated_streams()] == before


def test_a_closed_encoder_says_so_and_can_be_closed_again(make_bundle, texts):
    encoder = load(make_bundle())
    encoder.encode(texts)
    engine = encoder._backend._engine
    encoder.close()
    encoder.close()
    assert engine._engine is None
    for content in (texts[0], texts):
        with pytest.raises(ClosedError, match="is closed"):
            encoder.encode(content)


def test_closing_waits_for_the_runs_under_way_and_wakes_those_who_wait(make_bundle, texts, expected):
    encoder = load(make_bundle())
    token_ids = [encoder.tokenizer.encode(texts[0])]
    running = [encoder._backend.submit(token_ids) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(encoder.encode, texts[0])
        closing = pool.submit(encoder.close)
        assert not closing.done()
        for run in running:
            assert np.abs(run.result() - expected[0]).max() < 1e-5
        closing.result(timeout=60)
        problem = waiting.exception(timeout=60)
    if problem is None:  # it came first
        assert np.abs(waiting.result() - expected[0]).max() < 1e-5
    else:
        assert isinstance(problem, ClosedError)
        assert "is closed" in str(problem)


def test_a_forked_process_is_told_to_load_its_own(make_bundle, texts):
    encoder = load(make_bundle())
    encoder.encode(texts[0])
    encoder._backend._cuda._process += 1
    with pytest.raises(EngineRunError, match="forked"):
        encoder.encode(texts[0])
    encoder._backend._cuda._process -= 1


def test_the_callers_context_is_left_as_it_was(make_bundle, texts, driver):
    other = CudaContext(1)
    with other.active():
        encoder = load(make_bundle())
        encoder.encode(texts)
        encoder.close()
        assert driver.simulated_current() == 2
    assert not driver.simulated_current()


def test_a_size_that_there_is_no_room_to_record_runs_all_the_same(make_bundle, texts, expected, driver):
    encoder = load(make_bundle())
    assert np.abs(encoder.encode(texts[0]) - expected[0]).max() < 1e-5
    driver.simulated_limit(driver.simulated_device_bytes() + 10)
    try:
        for _ in range(3):
            assert np.abs(encoder.encode(texts[0]) - expected[0]).max() < 1e-5
    finally:
        driver.simulated_limit(1 << 34)


def test_what_was_said_before_is_not_in_later_errors(make_bundle):
    encoder = load(make_bundle())
    engine = encoder._backend._engine
    engine._log.errors.append("long ago")
    assert engine._words() == "long ago"
    assert engine._words() == "it gives no reason"


def test_auto_passes_over_an_engine_that_does_not_open_and_says_why(make_bundle, monkeypatch):
    folder = make_bundle(plan=b"not for here", requires={"tensorrt_rtx": "1.6.0"})

    def refuse(*arguments, **options):
        raise EngineBuildError("no kernel for this")

    monkeypatch.setattr(plans, "build_engine", refuse)
    encoder = load(folder)
    assert encoder.info["device"] == "cpu"
    assert "fp16-tensorrt-rtx cannot be used, no kernel for this" in encoder.info["why"]
    for asked in ({"device": "cuda"}, {"artifact": "fp16-tensorrt-rtx", "device": "tensorrt"}):
        with pytest.raises(EngineBuildError, match="no kernel"):
            load(folder, **asked)


def test_an_encoder_that_is_dropped_gives_its_memory_back(make_bundle, texts, driver):
    gc.collect()
    before = driver.simulated_device_bytes(), driver.simulated_streams()
    encoder = load(make_bundle())
    encoder.encode(texts)
    del encoder
    gc.collect()
    assert (driver.simulated_device_bytes(), driver.simulated_streams()) == before


def test_too_little_memory_is_said_in_the_drivers_words(make_bundle, driver):
    folder = make_bundle()
    driver.simulated_limit(ctypes.c_long(driver.simulated_device_bytes() + 100))
    try:
        with pytest.raises(EngineRunError, match=r"cuMemAlloc.*out of memory"):
            load(folder, device="cuda")
        assert "out of memory" in load(folder).info["why"]
    finally:
        driver.simulated_limit(ctypes.c_long(1 << 34))


def test_many_threads_get_their_own_vectors(make_bundle, texts, expected):
    encoder = load(make_bundle())

    def work(offset):
        for _ in range(4):
            for at in range(offset, len(texts), 3):
                assert np.abs(encoder.encode(texts[at]) - expected[at]).max() < 1e-5
            assert np.abs(encoder.encode(texts) - expected).max() < 1e-5

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, offset % 3) for offset in range(6)]:
            done.result(timeout=120)


def test_vectors_stay_when_others_are_computed(make_bundle, texts, expected):
    encoder = load(make_bundle())
    vectors = [encoder.encode(text) for text in texts]
    assert np.abs(np.stack(vectors) - expected).max() < 1e-5


@pytest.mark.parametrize(
    "requires",
    [
        {"tensorrt_rtx": "1.6.0", "compute_capabilities": "8.9"},
        {"tensorrt_rtx": VERSION, "compute_capabilities": "12.0"},
        {"tensorrt": "11.1.0", "compute_capabilities": "8.9"},
    ],
    ids=["another version", "another GPU", "another package"],
)
def test_an_engine_that_does_not_fit_is_built_anew_once(
    make_bundle, requires, texts, expected, builds, cache
):
    folder = make_bundle(plan=b"not for here", requires=requires)
    for _ in range(2):
        encoder = load(folder)
        assert np.abs(encoder.encode(texts[0]) - expected[0]).max() < 1e-5
        encoder.close()
    assert len(builds) == 1
    assert builds[0][1].compute_capabilities == ("8.9",)
    (kept,) = (cache / "engines").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    load(folder).close()
    assert len(builds) == 2


def test_what_is_kept_is_for_one_graph_version_and_gpu(make_bundle, package):
    bundle = Bundle.open(make_bundle())
    (_, artifact) = bundle.manifest.artifacts
    shorter = msgspec.structs.replace(bundle.manifest.tokenization, max_length=16)
    cut = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, tokenization=shorter))
    graph = msgspec.structs.replace(artifact.files[1], sha256="0" * 64)
    other = msgspec.structs.replace(artifact, files=(artifact.files[0], graph))
    gpus = [Gpu(0, "NVIDIA L4", "8.9"), Gpu(0, "NVIDIA L40S", "8.9"), Gpu(0, "NVIDIA L4", "9.0")]
    versions = [TensorRT("tensorrt_rtx", package, version) for version in ("1.7", "1.8")]
    paths = {
        plans.kernel_cache(of, which, trt, gpu).path
        for of in (bundle, cut)
        for which in (artifact, other)
        for trt in versions
        for gpu in gpus
    }
    assert len(paths) == 24


def test_a_cache_that_cannot_be_written_is_no_obstacle(make_bundle, texts, expected, builds, cache):
    cache.write_text("a file where the folder should be")
    folder = make_bundle(plan=b"not for here", requires={"tensorrt_rtx": "1.6.0"})
    assert np.abs(load(folder).encode(texts[0]) - expected[0]).max() < 1e-5
    assert len(builds) == 1


def test_an_engine_for_all_gpus_from_some_on_fits(make_bundle, builds):
    requires = {"tensorrt_rtx": VERSION, "compute_capabilities": "8.0", "from_compute_capability": "8.0"}
    load(make_bundle(requires=requires))
    assert builds == []


def test_a_plan_that_tensorrt_refuses_is_an_error_with_its_words(make_bundle):
    with pytest.raises(BundleError, match="magic tag does not match"):
        load(make_bundle(plan=b"not a plan"))


def test_a_build_that_fails_is_an_error_with_its_words(make_bundle, monkeypatch):
    def refuse(*arguments, **options):
        raise EngineBuildError("no kernel for this")

    monkeypatch.setattr(plans, "build_engine", refuse)
    with pytest.raises(EngineBuildError, match="no kernel"):
        load(make_bundle(requires={"tensorrt_rtx": "1.6.0"}), device="cuda")


def test_an_engine_with_other_outputs_is_refused(make_bundle, portable):
    graph = Bundle.open(portable).resolve(Bundle.open(portable).manifest.artifacts[0].files[0])
    plan = simulated.make_plan(graph, PADDED, outputs=["sentence_embedding", "last_hidden_state"])
    with pytest.raises(BundleError, match="last_hidden_state"):
        load(make_bundle(plan=plan))


def test_what_the_gpu_refuses_in_a_run_is_an_error_and_the_encoder_lives_on(make_bundle, texts, expected):
    encoder = load(make_bundle())
    engine = encoder._backend._engine
    good = engine.run
    engine.run = lambda context, stream: (_ for _ in ()).throw(EngineRunError("illegal address"))
    for _ in range(4):
        with pytest.raises(EngineRunError, match="illegal address"):
            encoder.encode(texts[0])
    engine.run = good
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5


def test_a_package_that_is_missing_is_named_and_auto_takes_the_cpu(make_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    folder = make_bundle()
    with pytest.raises(EngineMissingError, match=r"tensorrt_rtx cannot be used.*m3e-runtime\[tensorrt-rtx\]"):
        load(folder, device="cuda")
    encoder = load(folder)
    assert encoder.info["device"] == "cpu"
    assert "fp16-tensorrt-rtx cannot be used, tensorrt" in encoder.info["why"]


def test_kernels_compiled_here_are_kept_for_the_next_process(make_bundle, texts, cache, package):
    encoder = load(make_bundle())
    encoder._backend._engine._compiled.kernels = b"compiled"
    encoder.close()
    assert len(list((cache / "kernels").iterdir())) == 1
    again = Encoder.load(encoder.bundle.path, verify=False)
    assert again._backend._engine._compiled.kernels == b"compiled"


def test_the_calls_are_those_of_the_real_package():
    sys.modules.pop("tensorrt_rtx")
    real = pytest.importorskip("tensorrt_rtx")
    pairs = {
        simulated.Runtime: real.Runtime,
        simulated.CudaEngine: real.ICudaEngine,
        simulated.ExecutionContext: real.IExecutionContext,
        simulated.RuntimeConfig: real.IRuntimeConfig,
        simulated.RuntimeCache: real.IRuntimeCache,
        simulated.TensorIOMode: real.TensorIOMode,
        simulated.ExecutionContextAllocationStrategy: real.ExecutionContextAllocationStrategy,
        simulated.DynamicShapesKernelSpecializationStrategy: real.DynamicShapesKernelSpecializationStrategy,
    }
    for ours, theirs in pairs.items():
        names = [name for name in vars(ours) if not name.startswith("_")]
        assert names
        assert [name for name in names if not hasattr(theirs, name)] == []
    for name in ("device_memory_size_v2", "num_optimization_profiles", "num_io_tensors"):
        assert hasattr(real.ICudaEngine, name)


def test_types_of_tokens_travel_to_the_engine(classifiers, tmp_path):
    request = ExportRequest(
        str(classifiers[1]), tmp_path / "portable", targets=("portable",), max_length=TOKENS, gate="off",
        oracle="numpy",
    )  # fmt: skip
    bundle = Bundle.open(export(request).path)
    (artifact,) = bundle.manifest.artifacts
    profiles = [{**each, "token_type_ids": each["input_ids"]} for each in PADDED]
    plan = simulated.make_plan(bundle.resolve(artifact.files[0]), profiles)
    folder = write_bundle(bundle, artifact, plan, tmp_path / "bundle", {})
    pairs = random_pairs(30)
    expected = Reranker.load(bundle.path, device="cpu").predict(pairs)
    reranker = Reranker.load(folder, verify=False)
    assert reranker.info["engine"] == f"tensorrt-rtx {VERSION}"
    for _ in range(3):
        np.testing.assert_allclose(reranker.predict(pairs), expected, atol=1e-5)
        np.testing.assert_allclose([reranker.predict(pair) for pair in pairs], expected, atol=1e-5)
