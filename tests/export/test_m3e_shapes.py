"""M3E's true shapes with random weights: vectors and file size."""

import subprocess
import sys

import numpy as np
import pytest

from m3e_export import ExportRequest, export
from m3e_runtime import Encoder
from m3e_runtime.backends import native

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(
    scope="module",
    params=["m3e_small_checkpoint", pytest.param("m3e_base_checkpoint", marks=pytest.mark.slow)],
)
def checkpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def int8_base(m3e_base_checkpoint, tmp_path_factory):
    """Calibrated on few texts: the weights are random, only the size matters."""
    folder = tmp_path_factory.mktemp("int8-base")
    (folder / "calibration.txt").write_text("\n".join(f"第{n}句话" for n in range(20)), encoding="utf-8")
    request = ExportRequest(
        str(m3e_base_checkpoint),
        folder / "bundle",
        precisions=("int8",),
        targets=("native",),
        calibration=folder / "calibration.txt",
        gate="off",
    )
    return export(request).path


@pytest.mark.parametrize("target", ["cpu", pytest.param("native", marks=needs_native)])
def test_fp32_is_sentence_transformers(checkpoint, target, exported, sentence_transformer, texts):
    encoder = Encoder.load(exported(checkpoint, targets=(target,)).path)
    expected = sentence_transformer(checkpoint).encode(texts)
    assert encoder.dimension == expected.shape[1]
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@needs_native
def test_int8_follows_fp32_at_the_size_of_m3e_base(
    int8_base, m3e_base_checkpoint, sentence_transformer, texts
):
    vectors = Encoder.load(int8_base).encode(texts, normalize_embeddings=True)
    expected = sentence_transformer(m3e_base_checkpoint).encode(texts, normalize_embeddings=True)
    assert (vectors * expected).sum(axis=1).min() > 0.99


@pytest.mark.slow
@needs_native
def test_int8_m3e_base_is_small_on_disk(int8_base):
    (artifact,) = int8_base.rglob("*.safetensors")
    assert artifact.stat().st_size <= 110e6


ENCODE_UNDER_LOAD = """
import random, re, sys
from m3e_runtime import Encoder

encoder = Encoder.load(sys.argv[1], threads=2)
random.seed(0)
lengths = [random.randint(5, 390) for _ in range(39)]
texts = ["".join(chr(random.randint(0x4E00, 0x5A00)) for _ in range(n)) for n in lengths]
for _ in range(3):
    encoder.encode(texts)
assert "onnxruntime" not in sys.modules
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_int8_m3e_base_is_small_in_memory(int8_base):
    """The whole process: Python, NumPy, tokenizer, weights and workspaces."""
    command = [sys.executable, "-c", ENCODE_UNDER_LOAD, str(int8_base)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024
    (artifact,) = int8_base.rglob("*.safetensors")
    assert peak <= 1.6 * artifact.stat().st_size
