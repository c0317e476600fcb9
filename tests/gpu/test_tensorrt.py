"""Engines on a real GPU, against sentence-transformers. Skipped where there is none."""

import numpy as np
import pytest

from gpu.threads import encode_in_threads
from m3e_export import ExportRequest, export
from m3e_runtime import Encoder, EngineMissingError
from m3e_runtime.backends.device import parse_device
from m3e_runtime.gpu.tensorrt import EngineOptions, choose_capabilities, find_package
from m3e_runtime.outputs import normalize

TARGETS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@pytest.fixture(scope="module")
def gpu():
    try:
        return parse_device("cuda").gpu()
    except EngineMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=TARGETS)
def bundle(request, gpu, minilm, tmp_path_factory):
    """MiniLM in fp16 and int8, for the GPU at hand."""
    try:
        package = find_package(TARGETS[request.param])
        capabilities = () if package.needs_gpu_to_build else (gpu.compute_capability,)
        choose_capabilities(package, capabilities)
    except (EngineMissingError, ValueError) as error:
        pytest.skip(str(error))
    exported = ExportRequest(
        str(minilm),
        tmp_path_factory.mktemp(request.param) / "bundle",
        precisions=("fp16", "int8"),
        targets=(request.param,),
        engine=EngineOptions(compute_capabilities=capabilities),
    )
    return export(exported).path


@pytest.fixture(scope="module")
def expected(minilm_reference, gate_texts):
    return normalize(minilm_reference.encode(gate_texts))


@pytest.mark.parametrize(("precision", "mean", "least"), [("fp16", 0.9999, 0.9995), ("int8", 0.998, 0.99)])
def test_vectors_are_those_of_sentence_transformers(bundle, gate_texts, expected, precision, mean, least):
    (name,) = (a.name for a in Encoder.load(bundle).bundle.manifest.artifacts if a.precision == precision)
    encoder = Encoder.load(bundle, device="cuda", artifact=name)
    cosines = (normalize(encoder.encode(gate_texts)) * expected).sum(axis=1)
    assert cosines.mean() >= mean
    assert cosines.min() >= least


def test_a_recorded_run_gives_what_the_first_gave(bundle, gate_texts):
    encoder = Encoder.load(bundle, device="tensorrt")
    for text in gate_texts[:40]:
        first = encoder.encode(text)
        for _ in range(3):
            assert np.abs(encoder.encode(text) - first).max() < 2e-3


def test_many_threads_get_their_own_vectors(bundle, gate_texts):
    encoder = Encoder.load(bundle, device="cuda")
    encode_in_threads(encoder, gate_texts)


def test_memory_of_the_gpu_comes_back(bundle, gate_texts):
    from m3e_runtime.gpu.cuda import CudaContext

    def free_memory():
        with cuda.active():
            return cuda.call("cuMemGetInfo")

    cuda = CudaContext(0)
    free = []
    for _ in range(3):
        encoder = Encoder.load(bundle, device="cuda")
        encoder.encode(gate_texts)
        encoder.close()
        del encoder
        free.append(free_memory())
    assert free[2] >= free[1] - (16 << 20)
