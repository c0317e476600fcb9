"""ONNX Runtime on a real GPU, against sentence-transformers. Skipped where there is none."""

import numpy as np
import pytest

from gpu.threads import encode_in_threads
from m3e_export import ExportRequest, export
from m3e_runtime import Encoder, EngineMissingError
from m3e_runtime.backends.device import parse_device
from m3e_runtime.gpu.providers import check_provider
from m3e_runtime.outputs import normalize


@pytest.fixture(scope="module", params=["cuda", "cuda-packed"])
def encoder(request, minilm, tmp_path_factory):
    """MiniLM in fp16 on the GPU."""
    try:
        parse_device("cuda").gpu()
        check_provider("onnxruntime")
    except EngineMissingError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp(request.param) / "bundle"
    request = ExportRequest(str(minilm), folder, precisions=("fp16",), targets=(request.param,))
    return Encoder.load(export(request).path, device="cuda")


def test_vectors_are_those_of_sentence_transformers(encoder, gate_texts, minilm_reference):
    expected = normalize(minilm_reference.encode(gate_texts))
    cosines = (normalize(encoder.encode(gate_texts)) * expected).sum(axis=1)
    assert cosines.mean() >= 0.9999
    assert cosines.min() >= 0.9995


def test_one_text_gives_in_any_batch_and_in_any_run_the_same(encoder, gate_texts):
    together = encoder.encode(gate_texts)
    for text, vector in zip(gate_texts[:60], together, strict=False):
        for _ in range(3):
            assert np.abs(encoder.encode(text) - vector).max() < 2e-3


def test_small_sizes_are_recorded(encoder):
    assert encoder._backend.records


def test_many_threads_get_their_own_vectors(encoder, gate_texts):
    encode_in_threads(encoder, gate_texts)
