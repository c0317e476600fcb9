"""The graph: its operators, its validity, and what ONNX's own reference says it computes."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from transformers import BertModel, MPNetModel

from families import make_family
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import CudaDialect, OnnxRuntimeDialect, StandardDialect, TensorRtDialect
from m3e_export.precision.activations import SHIFTS
from m3e_export.precision.embeddings import FloatEmbeddings, Int8Embeddings
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan

DIALECTS = {
    "onnxruntime": OnnxRuntimeDialect,
    "standard": StandardDialect,
    "tensorrt": TensorRtDialect,
    "cuda": CudaDialect,
}


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return load_checkpoint(str(tiny_checkpoint))


def int8_plan(checkpoint):
    quantized = {
        linear.name: quantize_linear(
            linear, shift=SHIFTS["gelu"] if linear.name.endswith(".output") else None
        )
        for linear in checkpoint.weights.linears()
    }
    return PrecisionPlan(np.float16, np.float32, Int8Embeddings(), quantized)


def static_plan(checkpoint):
    """Int8 with scales that are known before; inputs of this model are below 8."""
    quantized = {
        linear.name: dataclasses.replace(quantize_linear(linear, together=1), input_scale=8 / 127)
        for linear in checkpoint.weights.linears()
    }
    return PrecisionPlan(np.float16, np.float16, FloatEmbeddings(np.float16), quantized)


def plans(checkpoint):
    return {
        "fp32": float_plan("fp32"),
        "fp16": float_plan("fp16"),
        "fp16-arithmetic": float_plan("fp16", half_arithmetic=True),
        "int8": int8_plan(checkpoint),
        "int8-static": static_plan(checkpoint),
    }


COMBINATIONS = [
    *itertools.product(["onnxruntime", "standard"], ["fp32", "fp16", "fp16-arithmetic", "int8"]),
    *itertools.product(["tensorrt"], ["fp32", "fp16", "fp16-arithmetic", "int8-static"]),
    *itertools.product(["cuda"], ["fp32", "fp16-arithmetic"]),
    *itertools.product(["onnxruntime", "standard"], ["fp16-arithmetic", "int8"], ["biased"]),
    ("tensorrt", "fp16-arithmetic", "biased"),
    ("cuda", "fp16-arithmetic", "biased"),
]


@pytest.fixture(
    scope="module",
    params=COMBINATIONS,
    ids="-".join,
)
def graph(request, checkpoint, tmp_path_factory):
    """(dialect, plan, path, loaded model) of each combination, scores with biases among them."""
    dialect, plan, *biased = request.param
    weights = checkpoint.weights
    if biased:
        shape = (checkpoint.spec.heads, 2 * checkpoint.spec.max_positions - 1)
        weights = dataclasses.replace(weights, relative_bias=np.ones(shape, np.float32))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    options = GraphOptions("mean", normalize=True)
    model = build_model(checkpoint.spec, weights, plans(checkpoint)[plan], DIALECTS[dialect], options)
    save_model(model, path)
    return dialect, plan, path, onnx.load(path)


def counts(model):
    return Counter(node.op_type for node in model.graph.node)


def test_every_layer_has_its_fused_operators(graph, checkpoint):
    dialect, plan, _, model = graph
    layers, found = checkpoint.spec.layers, counts(model)
    if dialect == "cuda":
        assert found["LayerNormalization"] == 1
        assert found["SkipLayerNormalization"] == 2 * layers
        assert found["BiasGelu"] == layers
    else:
        assert found["LayerNormalization"] == 2 * layers + 1
        assert found["Gelu"] == layers
    attention = {"standard": "Softmax", "tensorrt": "Attention"}.get(dialect, "MultiHeadAttention")
    assert found[attention] == layers
    products = {"standard": "MatMulInteger", "tensorrt": "QuantizeLinear"}
    product = products.get(dialect, "MatMulIntegerToFloat")
    assert found[product] == (4 * layers if plan.startswith("int8") else 0)


FUSED = ("onnxruntime", "cuda")


def test_only_dialects_of_onnxruntime_use_operators_beyond_the_standard(graph):
    dialect, _, _, model = graph
    domains = {node.domain for node in model.graph.node}
    assert domains == ({"", "com.microsoft"} if dialect in FUSED else {""})


def test_the_checker_accepts_it(graph):
    dialect, _, path, _ = graph
    onnx.checker.check_model(str(path), full_check=dialect not in FUSED)


def test_no_constant_is_infinite_or_beyond_fp16(graph):
    _, _, _, model = graph
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f":
            assert np.isfinite(array).all(), tensor.name
            assert np.abs(array).max(initial=0) < 65504, tensor.name


def test_half_arithmetic_keeps_normalization_and_softmax_in_float32(checkpoint, graph):
    _, plan, _, model = graph
    if plan != "fp16-arithmetic":
        pytest.skip("computes in float32 throughout")
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    for node in model.graph.node:
        if node.op_type == "LayerNormalization":
            stash = {attribute.name: attribute.i for attribute in node.attribute}["stash_type"]
            assert stash == onnx.TensorProto.FLOAT
        if node.op_type == "Softmax":
            assert types[node.input[0]] == onnx.TensorProto.FLOAT


def test_inputs_and_outputs_are_what_other_tools_expect(graph):
    """Engines for a GPU give the sentences only: the states of all tokens would be written for nobody."""
    dialect, _, _, model = graph
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]
    states = ["last_hidden_state"] if dialect in ("onnxruntime", "standard") else []
    assert [value.name for value in model.graph.output] == ["sentence_embedding", *states]
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {onnx.TensorProto.FLOAT}


@pytest.fixture(scope="module")
def batch():
    ids = np.random.default_rng(0).integers(103, 1900, size=(3, 9))
    mask = (np.arange(9) < np.array([9, 4, 1])[:, None]).astype(np.int64)
    return ids * mask, mask


@pytest.mark.parametrize(
    ("dialect", "plan", "tolerance"),
    [
        ("standard", "fp32", 1e-5),
        ("standard", "fp16", 2e-3),
        ("standard", "fp16-arithmetic", 5e-3),
        ("standard", "int8", 4e-2),
        ("tensorrt", "fp32", 1e-5),
        ("tensorrt", "fp16-arithmetic", 5e-3),
        ("tensorrt", "int8-static", 1e-1),
    ],
)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_onnx_reference_agrees_with_pytorch(
    checkpoint, tiny_checkpoint, batch, dialect, plan, tolerance, pooling, tmp_path
):
    ids, mask = batch
    reference = BertModel.from_pretrained(tiny_checkpoint, add_pooling_layer=False).eval()
    with torch.inference_mode():
        hidden = reference(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state.numpy()
    weights = mask[:, :, None]
    expected = (hidden * weights).sum(1) / weights.sum(1) if pooling == "mean" else hidden[:, 0]
    options = GraphOptions(pooling, normalize=False)
    model = build_model(
        checkpoint.spec, checkpoint.weights, plans(checkpoint)[plan], DIALECTS[dialect], options
    )
    path = save_model(model, tmp_path / "model.onnx")[0]
    feed = {"input_ids": ids, "attention_mask": mask}
    sentence, *states = ReferenceEvaluator(onnx.load(path)).run(None, feed)
    np.testing.assert_allclose(sentence, expected, atol=tolerance)
    assert len(states) == (dialect == "standard")
    for each in states:
        np.testing.assert_allclose(each * weights, hidden * weights, atol=4 * tolerance)


@pytest.mark.parametrize(
    ("dialect", "plan", "tolerance"),
    [("standard", "fp32", 1e-5), ("tensorrt", "fp32", 1e-5), ("tensorrt", "fp16-arithmetic", 1e-2)],
)
def test_onnx_reference_agrees_with_pytorch_on_relative_positions(dialect, plan, tolerance, tmp_path):
    folder = make_family(tmp_path / "mpnet", "mpnet")
    checkpoint, lengths = load_checkpoint(str(folder)), np.array([250, 9, 1])
    mask = (np.arange(250) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, np.random.default_rng(0).integers(110, 1900, mask.shape), checkpoint.pad_token_id)
    with torch.inference_mode():
        states = MPNetModel.from_pretrained(folder)(torch.from_numpy(ids), torch.from_numpy(mask))[0].numpy()
    options = GraphOptions("mean", normalize=False)
    model = build_model(
        checkpoint.spec, checkpoint.weights, plans(checkpoint)[plan], DIALECTS[dialect], options
    )
    path = save_model(model, tmp_path / "model.onnx")[0]
    feed = {"input_ids": ids, "attention_mask": mask}
    found = ReferenceEvaluator(onnx.load(path)).run(["sentence_embedding"], feed)[0]
    expected = (states * mask[:, :, None]).sum(1) / lengths[:, None]
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_biases_of_scores_are_made_once_for_all_layers(graph):
    _, _, _, model = graph
    has_biases = "relative_bias" in {tensor.name for tensor in model.graph.initializer}
    assert sum("relative_bias" in node.input for node in model.graph.node) == has_biases


def test_a_text_without_tokens_gives_zeros(graph):
    import onnxruntime

    _, _, path, _ = graph
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = np.array([[101, 500, 102], [0, 0, 0]])
    mask = np.array([[1, 1, 1], [0, 0, 0]])
    vectors = session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0]
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(vectors[1], 0)


def test_a_graph_that_lost_a_layer_is_refused(checkpoint):
    fewer = dataclasses.replace(checkpoint.weights, layers=checkpoint.weights.layers[:1])
    with pytest.raises(AssertionError, match="every layer"):
        build_model(
            checkpoint.spec,
            fewer,
            float_plan("fp32"),
            DIALECTS["standard"],
            GraphOptions("mean", normalize=False),
        )
