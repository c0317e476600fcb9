"""Engines of TensorRT-RTX, built without a GPU: what they are made of, and what is refused."""

import dataclasses
import sys
import types

import onnx_ir as ir
import pytest

from families import make_family
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import TensorRtDialect
from m3e_export.precision.embeddings import FloatEmbeddings
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_runtime.errors import EngineBuildError, EngineMissingError, OptionError
from m3e_runtime.gpu.tensorrt import (
    EngineOptions,
    Profile,
    Span,
    build_engine,
    default_profiles,
    find_package,
)

CAPABILITIES = ["8.0", "8.6", "8.9", "12.0"]
PROFILES = default_profiles(256)


def int8_plan(checkpoint):
    """What pays in int8, with scales out of the air: engines are looked at here, not run."""
    quantized = {
        linear.name: dataclasses.replace(quantize_linear(linear, together=1), input_scale=0.05)
        for linear in checkpoint.weights.linears()
        if not linear.name.endswith("qkv")
    }
    floats = float_plan("fp16", half_arithmetic=True)
    return dataclasses.replace(floats, quantized=quantized)


def save_graph(folder, plan_of, path):
    checkpoint = load_checkpoint(str(folder))
    options = GraphOptions("mean", normalize=True)
    plan: PrecisionPlan = plan_of(checkpoint)
    assert isinstance(plan.embeddings, FloatEmbeddings)
    save_model(build_model(checkpoint.spec, checkpoint.weights, plan, TensorRtDialect, options), path)
    return path


def fp16_plan(checkpoint):
    del checkpoint
    return float_plan("fp16", half_arithmetic=True)


@pytest.fixture(scope="module")
def tiny_graph(tiny_checkpoint, tmp_path_factory):
    return save_graph(tiny_checkpoint, fp16_plan, tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.mark.parametrize("plan_of", [fp16_plan, int8_plan])
@pytest.mark.parametrize(
    "capability",
    [each if each == "8.9" else pytest.param(each, marks=pytest.mark.slow) for each in CAPABILITIES],
)
def test_the_real_checkpoint_becomes_an_engine_of_fused_layers(rtx, minilm, plan_of, capability, tmp_path):
    graph = save_graph(minilm, plan_of, tmp_path / "model.onnx")
    built = build_engine(rtx, graph, EngineOptions(PROFILES, compute_capabilities=(capability,)))
    assert built.compute_capabilities == (capability,)
    assert len(built.plan) > 20e6
    layers = 6 * len(PROFILES)
    assert sum(layer.attends for layer in built.layers) == layers
    products = 3 * layers if plan_of is int8_plan else 0
    assert sum(layer.multiplies_int8 for layer in built.layers) == products


@pytest.mark.slow
@pytest.mark.parametrize("plan_of", [fp16_plan, int8_plan])
def test_m3e_bases_shape_becomes_an_engine(rtx, m3e_base_checkpoint, plan_of, tmp_path):
    graph = save_graph(m3e_base_checkpoint, plan_of, tmp_path / "model.onnx")
    options = EngineOptions(default_profiles(512), compute_capabilities=("8.9",))
    built = build_engine(rtx, graph, options)
    layers = 12 * len(options.profiles)
    assert sum(layer.attends for layer in built.layers) == layers
    products = 3 * layers if plan_of is int8_plan else 0
    assert sum(layer.multiplies_int8 for layer in built.layers) == products


@pytest.mark.parametrize("plan_of", [fp16_plan, int8_plan])
def test_attention_is_fused_with_biases_of_scores(rtx, plan_of, tmp_path):
    sizes = {"hidden_size": 128, "num_attention_heads": 2}
    folder = make_family(tmp_path / "model", "mpnet", config=sizes)
    graph = save_graph(folder, plan_of, tmp_path / "model.onnx")
    built = build_engine(rtx, graph, EngineOptions(PROFILES, compute_capabilities=("8.9",)))
    assert sum(layer.attends for layer in built.layers) == 2 * len(PROFILES)


@pytest.mark.parametrize("plan_of", [fp16_plan, int8_plan])
@pytest.mark.parametrize("family", ["albert", "albert, groups"])
def test_shared_layers_and_other_activations_become_an_engine(rtx, family, plan_of, tmp_path):
    folder = make_family(tmp_path / "model", family)
    graph = save_graph(folder, plan_of, tmp_path / "model.onnx")
    options = EngineOptions(default_profiles(128), compute_capabilities=("8.9",))
    built = build_engine(rtx, graph, options)
    layers, profiles = load_checkpoint(str(folder)).spec.layers, len(options.profiles)
    assert sum(layer.attends for layer in built.layers) == layers * profiles
    products = 3 * layers + 1 if plan_of is int8_plan else 0
    assert sum(layer.multiplies_int8 for layer in built.layers) == products * profiles


def test_one_engine_serves_several_gpus_and_by_default_all_usual_ones(rtx, tiny_graph):
    chosen = EngineOptions(PROFILES, compute_capabilities=tuple(CAPABILITIES[1:]))
    assert build_engine(rtx, tiny_graph, chosen).compute_capabilities == tuple(CAPABILITIES[1:])
    assert build_engine(rtx, tiny_graph, EngineOptions(PROFILES)).compute_capabilities == tuple(CAPABILITIES)


@pytest.mark.parametrize("max_length", [16, 64, 256, 300, 512, 40000])
def test_the_profiles_of_a_model_cover_its_lengths_and_make_batches_of_one_size(max_length):
    latency, *throughput = default_profiles(max_length)
    assert latency == Profile(Span(1, 1, 1), Span(1, min(32, max_length), max_length))
    assert max(each.tokens.most for each in throughput) == max_length
    for each in throughput:
        assert 1 <= each.texts.usual <= each.texts.most
        assert each.texts.most == 1 or 16000 < each.texts.most * each.tokens.most <= 16384


def test_an_unknown_compute_capability_is_refused_with_those_known(rtx, tiny_graph):
    with pytest.raises(OptionError, match=r"6\.1.*8\.9"):
        build_engine(rtx, tiny_graph, EngineOptions(PROFILES, compute_capabilities=("6.1",)))


def test_what_is_no_graph_is_an_error_with_the_parsers_words(rtx, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineBuildError, match=r"cannot read the graph: \w"):
        build_engine(rtx, tmp_path / "model.onnx", EngineOptions(PROFILES))


def one_node_graph(node, x, path, opset=20):
    node.outputs[0].name = "y"
    node.outputs[0].type = x.type
    domains = {"": opset, "nowhere": 1}
    graph = ir.Graph([x], list(node.outputs), nodes=[node], opset_imports=domains, name="odd")
    ir.save(ir.Model(graph, ir_version=10), path)
    return path


def test_an_operator_that_the_parser_does_not_know_is_named(rtx, tmp_path):
    x = ir.Value(name="x", shape=ir.Shape(["batch", "length"]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = one_node_graph(ir.node("Frobnicate", [x], domain="nowhere"), x, tmp_path / "model.onnx")
    with pytest.raises(EngineBuildError, match="Frobnicate"):
        build_engine(rtx, graph, EngineOptions(PROFILES))


def test_a_graph_that_no_engine_can_be_built_for_is_an_error_with_the_builders_words(rtx, tmp_path):
    """Shapes that do not fit the profiles: the input has three dimensions."""
    x = ir.Value(
        name="input_ids", shape=ir.Shape(["batch", "length", 3]), type=ir.TensorType(ir.DataType.FLOAT)
    )
    graph = one_node_graph(ir.node("Relu", [x]), x, tmp_path / "model.onnx")
    with pytest.raises(EngineBuildError, match=r"cannot build an engine: \w"):
        build_engine(rtx, graph, EngineOptions(PROFILES))


def test_a_graph_with_other_inputs_than_a_bundles_is_refused(rtx, tmp_path):
    x = ir.Value(name="x", shape=ir.Shape(["batch", "length"]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = one_node_graph(ir.node("Relu", [x]), x, tmp_path / "model.onnx")
    with pytest.raises(EngineBuildError, match=r"takes \['x'\]"):
        build_engine(rtx, graph, EngineOptions(PROFILES))


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineMissingError, match=r"m3e-runtime\[tensorrt-rtx\]"):
        find_package("tensorrt_rtx")


def test_an_old_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__="8.6.1"))
    with pytest.raises(EngineMissingError, match=r"8\.6\.1 is too old"):
        find_package("tensorrt")
