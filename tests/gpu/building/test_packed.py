"""Packed texts in TensorRT: the graph, and whether there is a kernel; no package at hand has one."""

import dataclasses
import itertools
import logging
import types
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from families import make_family
from m3e_export import ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import TensorRtDialect, TensorRtPackedDialect
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.search import float_plan
from m3e_export.targets import tensorrt as target
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.gpu.batch_shapes import PackedLayout
from m3e_runtime.gpu.tensorrt import BuiltEngine, EngineOptions, TensorRT, build_engine, default_profiles
from m3e_runtime.gpu.tensorrt.build import parse_graph
from m3e_runtime.gpu.tensorrt.monitor import make_logger
from m3e_runtime.gpu.tensorrt.packed import why_not_packed

NO_KERNEL = "no fused kernel is available"


def plan_of(checkpoint, precision, compute=np.float16):
    """Int8 with scales out of the air where graphs are looked at or compared with each other only."""
    floats = dataclasses.replace(float_plan("fp16", half_arithmetic=True), compute=compute)
    if precision == "fp16":
        return floats
    quantized = {
        linear.name: dataclasses.replace(quantize_linear(linear, together=1), input_scale=8 / 127)
        for linear in checkpoint.weights.linears()
        if not linear.name.endswith("qkv")
    }
    return dataclasses.replace(floats, quantized=quantized)


def save_graph(checkpoint, plan, dialect, path, pooling="mean"):
    model = build_model(checkpoint.spec, checkpoint.weights, plan, dialect, GraphOptions(pooling, True))
    return save_model(model, path)[0]


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return load_checkpoint(str(tiny_checkpoint))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_parser_takes_the_real_checkpoint_with_one_attention_a_layer(rtx, minilm, precision, tmp_path):
    checkpoint = load_checkpoint(str(minilm))
    plan = plan_of(checkpoint, precision)
    graph = save_graph(checkpoint, plan, TensorRtPackedDialect, tmp_path / "model.onnx")
    log = make_logger(rtx)
    builder = rtx.module.Builder(log)
    network, parser = parse_graph(rtx, builder, graph, log)
    kinds = Counter(network.get_layer(index).type.name for index in range(network.num_layers))
    inputs = [network.get_input(index).name for index in range(network.num_inputs)]
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    del parser
    assert kinds["ATTENTION_INPUT"] == kinds["ATTENTION_OUTPUT"] == checkpoint.spec.layers
    assert kinds["QUANTIZE"] == len(plan.quantized)
    assert set(inputs) == set(PackedLayout(256).types)
    assert outputs == ["sentence_embedding"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_all_but_attention_becomes_an_engine(rtx, tiny, precision, tmp_path):
    """The twin has attention in operators that TensorRT does have kernels for."""
    twin, plan = TensorRtPackedDialect.twin, plan_of(tiny, precision)
    graph = save_graph(tiny, plan, twin, tmp_path / "model.onnx")
    options = EngineOptions(default_profiles(tiny.max_length, "packed"), compute_capabilities=("8.9",))
    built = build_engine(rtx, graph, options)
    assert built.compute_capabilities == ("8.9",)


class TRT_Attention(OpRun):  # noqa: N801 - the operator's own name
    """Attention within each text, scores as they are."""

    op_domain = "trt"

    def _run(self, query, key, value, mask, ends, key_ends, query_form=None, kv_form=None, **attributes):
        assert mask is None
        assert (query_form, kv_form) == ("packed_nhd", "packed_nhd")
        np.testing.assert_array_equal(ends, key_ends)
        context = np.empty_like(query)
        for start, end in itertools.pairwise(ends):
            q, k, v = (each[start:end].swapaxes(0, 1) for each in (query, key, value))
            scores = np.exp(q @ k.swapaxes(1, 2))
            context[start:end] = (scores / scores.sum(axis=-1, keepdims=True) @ v).swapaxes(0, 1)
        return (context,)


@pytest.fixture
def batch(tiny, texts):
    """Token ids of six texts, and packed inputs with texts that nobody asked for."""
    token_ids, layout = tiny.text_tokenizer().encode_batch(texts[:6]), PackedLayout(tiny.max_length)
    size = layout.size([len(ids) for ids in token_ids])
    assert size.texts > len(token_ids)
    feed = {name: np.empty(shape, layout.types[name]) for name, shape in layout.shapes(size).items()}
    layout.fill(token_ids, size, feed)
    return token_ids, feed


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_graph_and_its_twin_give_the_padded_graphs_vectors(tiny, batch, precision, pooling, tmp_path):
    token_ids, feed = batch
    plan = plan_of(tiny, precision, compute=np.float32)
    padded, packed, twin = (
        save_graph(tiny, plan, dialect, tmp_path / f"{name}.onnx", pooling)
        for name, dialect in (
            ("padded", TensorRtDialect),
            ("packed", TensorRtPackedDialect),
            ("twin", TensorRtPackedDialect.twin),
        )
    )
    expected = OnnxRuntimeCpu(padded, 1).run(token_ids)
    session = onnxruntime.InferenceSession(str(twin), providers=["CPUExecutionProvider"])
    # Codes of 8 bits turn a last digit that differs into a step.
    tolerance = 1e-5 if precision == "fp16" else 2e-2
    np.testing.assert_allclose(session.run(None, feed)[0][:6], expected, atol=tolerance)
    evaluator = ReferenceEvaluator(onnx.load(packed), new_ops=[TRT_Attention])
    np.testing.assert_allclose(evaluator.run(None, feed)[0][:6], expected, atol=tolerance)


@pytest.mark.parametrize("capability", ["8.0", "8.9", "12.0"])
def test_the_builder_says_that_it_has_no_kernel(rtx, capability):
    reason = why_not_packed(rtx, 12, 64, (capability,))
    assert reason is not None
    assert reason.startswith(f"tensorrt_rtx {rtx.version}: ")
    assert NO_KERNEL in reason
    assert "Provide padded" not in reason


def test_a_package_that_does_not_know_packed_texts_is_a_reason_too():
    older = TensorRT("tensorrt", types.SimpleNamespace(INetworkDefinition=object), "10.9")
    assert why_not_packed(older, 12, 64, ("8.9",)) == "tensorrt 10.9 does not know packed texts"


def test_where_an_engine_comes_out_there_is_no_reason(rtx, monkeypatch):
    """The builder is made to build what is asked for with padded texts."""
    forms = rtx.module.AttentionIOForm
    asked = []

    class Network:
        def __init__(self, network):
            self._network = network

        def __getattr__(self, name):
            return getattr(self._network, name)

        def add_attention_v2(self, *arguments):
            asked.append(types.SimpleNamespace(get_output=lambda _: arguments[0]))
            return asked[0]

    class Builder(rtx.module.Builder):
        def create_network(self, flags):
            return Network(super().create_network(flags))

        def build_serialized_network(self, network, config):
            return b"engine"

    monkeypatch.setattr(rtx.module, "Builder", Builder)
    assert why_not_packed(rtx, 12, 64, ("8.9",)) is None
    assert asked[0].query_form == asked[0].key_value_form == forms.PACKED_NHD
    assert asked[0].query_lengths.name != asked[0].key_value_lengths.name


def request_for(checkpoint, folder, precision="fp16"):
    return ExportRequest(
        str(checkpoint), folder, precisions=(precision,), targets=("tensorrt-rtx",), gate="off",
        engine=EngineOptions(compute_capabilities=("8.9",)),
    )  # fmt: skip


def operators_of(bundle, artifact):
    graph = onnx.load(bundle.path / artifact.files[1].path).graph
    return Counter(node.op_type for node in graph.node)


def test_without_a_kernel_texts_are_padded_and_the_log_says_why(rtx, tiny, tiny_checkpoint, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="m3e_export.targets.tensorrt"):
        bundle = export(request_for(tiny_checkpoint, tmp_path / "bundle"))
    (artifact,) = bundle.manifest.artifacts
    assert artifact.layout == "padded"
    assert operators_of(bundle, artifact)["Attention"] == tiny.spec.layers
    assert NO_KERNEL in caplog.text


@pytest.fixture
def kernel(monkeypatch):
    """A package that has the kernel; the options of each build that is asked for."""
    asked = []

    def build(package, graph, options):
        asked.append(options)
        return BuiltEngine(b"engine", (), ("8.9",))

    monkeypatch.setattr(target, "why_not_packed", lambda *arguments: None)
    monkeypatch.setattr(target, "build_engine", build)
    return asked


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_with_a_kernel_the_bundle_holds_a_packed_engine(
    rtx, tiny, tiny_checkpoint, tmp_path, kernel, precision
):
    bundle = export(request_for(tiny_checkpoint, tmp_path / "bundle", precision))
    (artifact,) = bundle.manifest.artifacts
    assert artifact.layout == "packed"
    assert artifact.fidelity.of == "graph"
    assert artifact.fidelity.min_cosine > (0.9999 if precision == "fp16" else 0.9)
    operators = operators_of(bundle, artifact)
    assert operators["TRT_Attention"] == tiny.spec.layers
    assert operators["QuantizeLinear"] == artifact.mix.get("int8", 0)
    assert (precision == "int8") == ("int8" in artifact.mix)
    assert [each.profiles for each in kernel] == [default_profiles(tiny.max_length, "packed")]


def test_fp32_is_padded_with_a_kernel_too(rtx, tiny, tiny_checkpoint, tmp_path, kernel):
    (artifact,) = export(request_for(tiny_checkpoint, tmp_path / "bundle", "fp32")).manifest.artifacts
    assert artifact.layout == "padded"
    assert [each.profiles for each in kernel] == [default_profiles(tiny.max_length)]


def test_relative_positions_are_padded_with_a_kernel_too(rtx, tmp_path, kernel, caplog):
    folder = make_family(tmp_path / "mpnet", "mpnet")
    with caplog.at_level(logging.INFO, logger="m3e_export.targets.tensorrt"):
        bundle = export(request_for(folder, tmp_path / "bundle"))
    (artifact,) = bundle.manifest.artifacts
    assert artifact.layout == "padded"
    assert artifact.fidelity.min_cosine > 0.9995
    assert "relative positions need padded batches" in caplog.text
    checkpoint = load_checkpoint(str(folder))
    with pytest.raises(UnsupportedModelError, match="--target cuda-packed"):
        save_graph(checkpoint, plan_of(checkpoint, "fp16"), TensorRtPackedDialect, tmp_path / "model.onnx")


def test_an_engine_without_weights_says_where_they_are(rtx, tiny_checkpoint, tmp_path, kernel):
    request = request_for(tiny_checkpoint, tmp_path / "bundle")
    engine = dataclasses.replace(request.engine, strip_weights=True)
    (artifact,) = export(dataclasses.replace(request, engine=engine)).manifest.artifacts
    assert artifact.requires == {
        "tensorrt_rtx": rtx.version, "compute_capabilities": "8.9", "weights": "graph",
    }  # fmt: skip


def holds(profile, size):
    return profile.texts.least <= size.texts <= profile.texts.most and size.tokens <= profile.tokens.most


@pytest.mark.parametrize("max_length", [32, 128, 256, 512])
def test_packed_profiles_hold_what_the_layout_makes(max_length):
    latency, throughput = default_profiles(max_length, "packed")
    layout = PackedLayout(max_length)
    for length in range(1, max_length + 1):
        assert holds(latency, layout.size([length]))
        assert holds(latency, layout.size([length], exact=True))
    assert holds(throughput, layout.size([16384 // 128] * 128))
    assert holds(throughput, layout.size([4] * 300))
    for each in (latency, throughput):
        assert each.texts.least <= each.texts.usual <= each.texts.most
        assert each.tokens.least <= each.tokens.usual <= each.tokens.most
