"""Fewer bits in graphs of others: what is found in them, and what is computed then."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from m3e_export.generic.matrices import find_matrices, normalized
from m3e_export.generic.precision import quantize_embeddings, quantize_products, store_half
from m3e_export.precision.int8 import quantize_linear

# `w` is multiplied with twice, `turned` by Gemm; `scores` are a product of no constant matrix.
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
example (int64[b, l] input_ids, float[c, i] wide) => (float[b, l, o] y, float[c, o] z, float[b, l, l] scores)
{
    x = Gather <axis = 0> (table, input_ids)
    first = MatMul (x, w)
    gelu = Gelu (first)
    y = MatMul (gelu, second)
    again = MatMul (wide, w)
    z = Gemm <transB = 1> (again, turned, bias)
    back = Transpose <perm = [0, 2, 1]> (x)
    scores = MatMul (x, back)
    constant = MatMul (w, second)
}
"""
SHAPES = {"table": (50, 8), "w": (8, 6), "second": (6, 4), "turned": (4, 6), "bias": (4,)}
INPUTS = {
    "input_ids": np.array([[1, 2, 3], [4, 0, 0]], np.int64),
    "wide": np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32),
}


@pytest.fixture
def weights():
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def model(weights):
    proto = onnx.parser.parse_model(GRAPH)
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in weights.items()
    )
    for node in proto.graph.node:
        node.name = f"/layer/{node.output[0]}/{node.op_type}"
    return normalized(ir.from_proto(proto))


def run(model, **inputs):
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {**INPUTS, **inputs})


def stored(model):
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


def test_matrices_are_found_with_all_their_products(model, weights):
    found = {each.linear.name: each for each in find_matrices(model.graph)}
    assert list(found) == ["layer.first", "layer.y", "layer.z"]
    assert [len(each.nodes) for each in found.values()] == [2, 1, 1]
    np.testing.assert_array_equal(found["layer.z"].linear.weight, weights["turned"].T)
    assert [each.shift for each in found.values()] == [None, 0.17, None]


def test_integer_products_are_row_by_row(model):
    expected = run(model)
    matrices = find_matrices(model.graph)
    quantized = {m.linear.name: quantize_linear(m.linear, None, m.shift) for m in matrices}
    quantize_products(model, quantized)
    assert sum(node.op_type == "MatMulInteger" for node in model.graph) == 4
    assert {
        name for name, array in stored(model).items() if array.ndim == 2 and array.dtype == np.float32
    } == {"table"}
    found = run(model)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05 * np.abs(other).max())
    factors = np.array([[1], [1000], [1], [1], [1]], np.float32)
    louder = run(model, wide=INPUTS["wide"] * factors)[1]
    np.testing.assert_array_equal(np.delete(louder, 1, axis=0), np.delete(found[1], 1, axis=0))


def test_matrices_left_out_stay_as_they_are(model, weights):
    linear = find_matrices(model.graph)[1].linear
    quantize_products(model, {linear.name: quantize_linear(linear)})
    kept = stored(model)
    np.testing.assert_array_equal(kept["w"], weights["w"])
    assert "second" not in kept


def test_tables_of_words_are_stored_in_8_bits(model, weights):
    quantize_embeddings(model)
    kept = stored(model)
    assert "table" not in kept
    assert kept["table.codes"].dtype == np.int8
    np.testing.assert_allclose(
        kept["table.codes"] * kept["table.scales"], weights["table"], atol=kept["table.scales"].max() / 2
    )
    store_half(model)
    assert stored(model)["table.scales"].dtype == np.float32


def test_half_precision_rounds_matrices_and_nothing_else(model, weights):
    weights["w"][0, 0] = 1e5  # more than half precision holds
    model.graph.initializers["w"].const_value = ir.tensor(weights["w"], name="w")
    store_half(model)
    kept = stored(model)
    assert {array.dtype for name, array in kept.items() if name in ("w", "bias")} == {np.dtype(np.float32)}
    assert {name for name, array in kept.items() if array.dtype == np.float16} == {
        "table.half",
        "second.half",
        "turned.half",
    }
    rounded = {
        name: weights[name].astype(np.float16).astype(np.float32) for name in ("table", "second", "turned")
    }
    x = rounded["table"][INPUTS["input_ids"]]
    z = INPUTS["wide"] @ weights["w"] @ rounded["turned"].T + weights["bias"]
    np.testing.assert_allclose(run(model)[1], z, rtol=1e-5)
    np.testing.assert_allclose(run(model)[2], x @ x.transpose(0, 2, 1), rtol=1e-5, atol=1e-6)
