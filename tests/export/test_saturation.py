"""ONNX Runtime's real integer kernels on a processor without VNNI, emulated by qemu where it is installed.

Debian: ``apt-get install qemu-user``.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from m3e_export.architectures import Linear
from m3e_export.precision.int8 import quantize_linear

QEMU = shutil.which("qemu-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed")

INPUTS, OUTPUTS, ROWS = 96, 64, 8
RUN = """
import json, sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(json.dumps(session.run(None, {"a": numpy.load(sys.argv[2])})[0].tolist()))
"""


def emulated_error(folder, codes, activations):
    """Largest difference from the exact integers of MatMulIntegerToFloat on an emulated Haswell (AVX2)."""
    constants = {
        "w": codes,
        "one": np.array(1, np.float32),
        "s": np.ones(OUTPUTS, np.float32),
        "z": np.array(128, np.uint8),
    }
    node = helper.make_node(
        "MatMulIntegerToFloat", ["a", "w", "one", "s", "z"], ["y"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUTPUTS])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), folder / "product.onnx")
    np.save(folder / "a.npy", activations)
    files = [str(folder / "product.onnx"), str(folder / "a.npy")]
    command = [QEMU, "-cpu", "Haswell", sys.executable, "-c", RUN, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    exact = (activations.astype(np.int64) - 128) @ codes.astype(np.int64)
    return np.abs(np.array(json.loads(done.stdout)) - exact).max()


def test_pair_safe_codes_are_exact_where_plain_ones_saturate(tmp_path):
    random = np.random.default_rng(0)
    weight = random.standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
    weight[:, :8] = np.abs(weight[:, :8]) + 1  # columns of one sign: the worst for sums of pairs
    activations = random.integers(0, 256, (ROWS, INPUTS)).astype(np.uint8)
    activations[:2] = 255
    plain = np.clip(np.rint(weight / (np.abs(weight).max(axis=0) / 127)), -127, 127).astype(np.int8)
    safe = quantize_linear(Linear("matrix", weight, np.zeros(OUTPUTS, np.float32))).codes
    assert emulated_error(tmp_path, plain, activations) > 1000
    assert emulated_error(tmp_path, safe, activations) == 0
