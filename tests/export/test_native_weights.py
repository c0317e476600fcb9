"""The native artifact as a file: a true safetensors file, packed as the kernels expect, deterministic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from m3e_export.checkpoint import load_checkpoint
from m3e_export.native import save_native
from m3e_export.native.packing import pack_codes, pack_floats
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return load_checkpoint(str(tiny_checkpoint))


def save(checkpoint, plan, path):
    save_native(checkpoint.spec, checkpoint.weights, plan, "mean", False, path)
    return path


def int8_plan(checkpoint):
    return PrecisionPlan(
        storage=np.float16,
        quantized={linear.name: quantize_linear(linear) for linear in checkpoint.weights.linears()},
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(1, 70))
def test_packed_codes_hold_every_weight_where_the_kernels_look(inputs, outputs):
    codes = np.random.default_rng(inputs).integers(-127, 128, (inputs, outputs)).astype(np.int8)
    packed = pack_codes(codes)
    assert packed.shape == (-(-outputs // 16), -(-inputs // 64) * 16, 16, 4)
    for k, n in {(0, 0), (inputs - 1, outputs - 1), (inputs // 2, outputs // 3)}:
        assert packed[n // 16, k // 4, n % 16, k % 4] == codes[k, n]
    assert np.abs(packed.astype(int)).sum() == np.abs(codes.astype(int)).sum()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 100), st.integers(1, 70))
def test_packed_floats_hold_every_weight_where_the_kernels_look(inputs, outputs):
    weight = np.random.default_rng(inputs).standard_normal((inputs, outputs)).astype(np.float32)
    packed = pack_floats(weight)
    assert packed.shape == (-(-outputs // 16), inputs, 16)
    for k, n in {(0, 0), (inputs - 1, outputs - 1), (inputs // 2, outputs // 3)}:
        assert packed[n // 16, k, n % 16] == weight[k, n]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_safetensors_library_reads_it(checkpoint, tmp_path, precision):
    plan = int8_plan(checkpoint) if precision == "int8" else float_plan(precision)
    path = save(checkpoint, plan, tmp_path / "weights.safetensors")
    tensors = load_file(path)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "m3e-native"
    norm = checkpoint.weights.layers[1].output_norm
    np.testing.assert_array_equal(tensors["layer.1.output_norm.gamma"], norm.gamma)
    kept = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}[precision]
    assert tensors["layer.0.qkv"].dtype == kept


def test_the_sums_are_those_of_the_codes(checkpoint, tmp_path):
    tensors = load_file(save(checkpoint, int8_plan(checkpoint), tmp_path / "weights.safetensors"))
    codes = tensors["layer.0.output"].astype(np.int64)  # [panels, steps, 16, 4]
    sums = codes.sum(axis=(1, 3)).reshape(-1) * tensors["layer.0.output.scales"]
    np.testing.assert_allclose(tensors["layer.0.output.sums"], sums, rtol=1e-6)


def test_the_same_model_gives_the_same_bytes(checkpoint, tmp_path):
    first = save(checkpoint, int8_plan(checkpoint), tmp_path / "a").read_bytes()
    assert save(checkpoint, int8_plan(checkpoint), tmp_path / "b").read_bytes() == first


def test_matrices_start_on_cache_lines(checkpoint, tmp_path):
    content = save(checkpoint, int8_plan(checkpoint), tmp_path / "weights.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert start % 64 == 0
    with safe_open(tmp_path / "weights.safetensors", "numpy") as file:
        packed = file.get_tensor("layer.1.intermediate").tobytes()
    assert (content.index(packed) - start) % 64 == 0
