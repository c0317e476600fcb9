"""Graphs of encoders after BERT, in every dialect: the vectors of numpy's forward pass."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from m3e_export.errors import UnsupportedModelError
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import (
    CudaDialect,
    CudaPackedDialect,
    OnnxRuntimeDialect,
    StandardDialect,
    TensorRtDialect,
    TensorRtPackedDialect,
)
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_runtime.gpu.batch_shapes import PackedLayout, PaddedLayout
from random_encoders import KINDS, random_encoder

POSITIONS = 128
LENGTHS = (12, 100, 1, 37)
WINDOWS = ("modernbert", "causal, partly rotated")
PADDED = {"cpu": OnnxRuntimeDialect, "portable": StandardDialect, "cuda": CudaDialect}
PACKED = {"cuda-packed": CudaPackedDialect, "tensorrt-packed": TensorRtPackedDialect}


def texts():
    random = np.random.default_rng(0)
    return [random.integers(0, 500, size=length).astype(np.int32) for length in LENGTHS]


def vectors(spec, weights):
    forward = NumpyForward(spec, weights)
    return np.stack([forward(ids).mean(axis=0) for ids in texts()])


def write(kind, dialect, plan, path):
    spec, weights = random_encoder(kind, POSITIONS)
    model = build_model(spec, weights, plan(weights), dialect, GraphOptions("mean", normalize=False))
    return save_model(model, path / "model.onnx")[0], vectors(spec, weights)


def run(path, layout):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["sentence_embedding"], feed(layout))[0][: len(LENGTHS)]


def feed(layout):
    found = texts()
    size = layout.size([len(ids) for ids in found], False)
    arrays = {name: np.empty(shape, layout.types[name]) for name, shape in layout.shapes(size).items()}
    layout.fill(found, size, arrays)
    return arrays


def int8_plan(weights):
    quantized = {linear.name: quantize_linear(linear) for linear in weights.linears()}
    return PrecisionPlan(quantized=quantized)


PLANS = {
    "fp32": lambda _: float_plan("fp32"),
    "fp16": lambda _: float_plan("fp16"),
    "fp16-arithmetic": lambda _: float_plan("fp16", half_arithmetic=True),
    "int8": int8_plan,
}
TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "fp16-arithmetic": 2e-2, "int8": 0.2}


@pytest.mark.parametrize("precision", PLANS)
@pytest.mark.parametrize("dialect", PADDED)
@pytest.mark.parametrize("kind", KINDS)
def test_padded_graphs(kind, dialect, precision, tmp_path):
    if dialect == "cuda" and precision == "int8":
        pytest.skip("cuda has no int8")
    path, expected = write(kind, PADDED[dialect], PLANS[precision], tmp_path)
    np.testing.assert_allclose(run(path, PaddedLayout(POSITIONS)), expected, atol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16-arithmetic"])
@pytest.mark.parametrize("dialect", PACKED)
@pytest.mark.parametrize("kind", KINDS)
def test_twins_of_packed_graphs(kind, dialect, precision, tmp_path):
    path, expected = write(kind, PACKED[dialect].twin, PLANS[precision], tmp_path)
    np.testing.assert_allclose(run(path, PackedLayout(POSITIONS)), expected, atol=TOLERANCE[precision])


@pytest.mark.parametrize("kind", KINDS)
def test_tensorrt_in_the_words_of_the_standard(kind, tmp_path):
    path, expected = write(kind, TensorRtDialect, PLANS["fp32"], tmp_path)
    onnx.checker.check_model(str(path), full_check=True)
    found = ReferenceEvaluator(onnx.load(path)).run(["sentence_embedding"], feed(PaddedLayout(POSITIONS)))[0]
    np.testing.assert_allclose(found[: len(LENGTHS)], expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_graphs_are_written_or_refused(kind, tmp_path):
    write(kind, CudaPackedDialect, PLANS["fp16-arithmetic"], tmp_path)
    if kind in (*WINDOWS, "jina"):
        with pytest.raises(UnsupportedModelError, match="windows of attention"):
            write(kind, TensorRtPackedDialect, PLANS["fp16-arithmetic"], tmp_path)
    else:
        write(kind, TensorRtPackedDialect, PLANS["fp16-arithmetic"], tmp_path)


def test_a_table_of_angles_is_stored_once_and_in_float32(tmp_path):
    path, _ = write("nomic", OnnxRuntimeDialect, PLANS["fp16"], tmp_path)
    tables = [each for each in onnx.load(path).graph.initializer if each.name.startswith("rotary")]
    assert sorted(each.name for each in tables) == ["rotary.0.cosines", "rotary.0.sines"]
    assert {each.data_type for each in tables} == {onnx.TensorProto.FLOAT}
