"""Graphs for ONNX Runtime on CUDA: what they compute, as far as a CPU can tell, and what is in them."""

import dataclasses
import itertools
import json
import math
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from transformers import AutoModel

import synthetic
from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import main
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import CudaDialect, CudaPackedDialect
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime.gpu.batch_shapes import PackedLayout, PaddedLayout

PLANS = {name: float_plan(name, half_arithmetic=True) for name in ("fp32", "fp16")}


@pytest.fixture(scope="module")
def real(minilm):
    return load_checkpoint(str(minilm))


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return load_checkpoint(str(tiny_checkpoint))


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory):
    """A model with biases of scores, and its folder."""
    folder = make_family(tmp_path_factory.mktemp("mpnet"), "mpnet")
    return load_checkpoint(str(folder)), folder


@pytest.fixture(scope="module")
def albert_checkpoint(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("albert") / "model", "albert")


@pytest.fixture(scope="module")
def albert(albert_checkpoint):
    return load_checkpoint(str(albert_checkpoint))


@pytest.fixture(scope="module", params=["cuda-fp32", "cuda-fp16", "cuda-packed-fp32", "cuda-packed-fp16"])
def judged(request, real, tmp_path_factory):
    """(target, precision, file): what the gate runs of each target."""
    name, precision = request.param.rsplit("-", 1)
    file = tmp_path_factory.mktemp("cuda") / "twin.onnx"
    TARGETS[name].save_twin(real, PLANS[precision], file)
    return TARGETS[name], precision, file


def ids_of(checkpoint, texts):
    return checkpoint.text_tokenizer().encode_batch(texts)


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def filled(layout, token_ids, exact=False):
    """The inputs as a GPU gets them, and whether texts that nobody asked for are among them."""
    size = layout.size([len(ids) for ids in token_ids], exact)
    feed = {name: np.empty(shape, layout.types[name]) for name, shape in layout.shapes(size).items()}
    layout.fill(token_ids, size, feed)
    return feed, size.texts > len(token_ids)


def layout_of(target, max_length):
    return PackedLayout(max_length) if target.layout == "packed" else PaddedLayout(max_length)


def test_vectors_are_those_of_sentence_transformers(judged, real, minilm_reference, texts):
    target, precision, file = judged
    chosen = [*texts[:32], texts[-1]]  # one is longer than the model takes
    expected = minilm_reference.encode(chosen)
    together = target.load(file, 2).run(ids_of(real, chosen))
    cosines = (together * expected).sum(axis=1)
    assert cosines.min() >= (0.999999 if precision == "fp32" else 0.99995)


def test_a_text_does_not_see_the_others(judged, real, texts):
    target, precision, file = judged
    engine, token_ids = target.load(file, 2), ids_of(real, texts[:24])
    alone = np.stack([engine.run([ids])[0] for ids in token_ids])
    np.testing.assert_allclose(engine.run(token_ids), alone, atol=1e-6 if precision == "fp32" else 5e-4)


def test_texts_that_nobody_asked_for_change_nothing(judged, real, texts):
    target, precision, file = judged
    token_ids, session = ids_of(real, texts[8:16] + texts[:1]), session_of(file)
    feed, fillers = filled(layout_of(target, real.max_length), token_ids)
    assert fillers
    found = session.run(["sentence_embedding"], feed)[0]
    expected = target.load(file, 2).run(token_ids)
    np.testing.assert_allclose(found[: len(token_ids)], expected, atol=1e-6 if precision == "fp32" else 5e-4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dialect", [CudaDialect, CudaPackedDialect])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_and_normalization(tiny, tiny_checkpoint, dialect, pooling, normalize, texts, tmp_path):
    model = build(tiny, dialect.twin or dialect, "fp32", pooling, normalize)
    token_ids = ids_of(tiny, texts[:6])
    layout = PackedLayout(64) if dialect is CudaPackedDialect else PaddedLayout(64)
    feed, _ = filled(layout, token_ids)
    found = session_of(save_model(model, tmp_path / "model.onnx")[0]).run(None, feed)[0][:6]
    np.testing.assert_allclose(
        found, torch_vectors(tiny_checkpoint, token_ids, pooling, normalize), atol=1e-5
    )


def build(checkpoint, dialect, precision, pooling="mean", normalize=True):
    options = GraphOptions(pooling, normalize)
    return build_model(checkpoint.spec, checkpoint.weights, PLANS[precision], dialect, options)


def torch_vectors(folder, token_ids, pooling, normalize):
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = [
            model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0] for ids in token_ids
        ]
        vectors = torch.stack([each.mean(0) if pooling == "mean" else each[0] for each in states])
        return (torch.nn.functional.normalize(vectors) if normalize else vectors).numpy()


class PackedMultiHeadAttention(OpRun):
    """As ONNX Runtime documents it: heads of query, key and value side by side, their biases one by one."""

    op_domain = "com.microsoft"

    def _run(self, qkv, key, value, bias, token_offset, ends, score_bias=None, num_heads=None, **attributes):
        assert key is None
        assert value is None
        heads, size = qkv.shape[1], qkv.shape[3]
        assert heads == num_heads
        added = qkv + bias.reshape(3, heads, size).swapaxes(0, 1)
        context = np.empty((len(qkv), heads * size), qkv.dtype)
        longest = token_offset.shape[1]
        score_bias = np.zeros((1, heads, longest, longest)) if score_bias is None else score_bias
        assert score_bias.shape == (1, heads, longest, longest)
        for text, (start, end) in enumerate(itertools.pairwise(ends)):
            row = token_offset.reshape(-1)[start:end] - text * longest
            np.testing.assert_array_equal(row, np.arange(end - start))
            query, key, value = added[start:end].transpose(2, 1, 0, 3)
            scores = query @ key.swapaxes(1, 2) / math.sqrt(size)
            scores = np.exp(scores + score_bias[0, :, : end - start, : end - start])
            shares = scores / scores.sum(axis=-1, keepdims=True)
            context[start:end] = (shares @ value).swapaxes(0, 1).reshape(end - start, -1)
        return (context,)


class SkipLayerNormalization(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, skip, gamma, beta, bias, epsilon=None):
        total = x + skip + bias
        centred = total - total.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return ((centred / np.sqrt(variance + np.float32(epsilon)) * gamma + beta).astype(x.dtype),)


class BiasGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, bias):
        return (torch.nn.functional.gelu(torch.from_numpy(x + bias)).numpy(),)


class FastGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, bias):
        return (torch.nn.functional.gelu(torch.from_numpy(x + bias), approximate="tanh").numpy(),)


OPERATORS = [PackedMultiHeadAttention, SkipLayerNormalization, BiasGelu, FastGelu]
"""No CPU has packed attention, so the documented meaning of the operators stands in for it."""


@pytest.mark.parametrize("name", ["tiny", "albert"])
def test_the_packed_graph_itself_gives_its_twins_vectors(name, request, texts, tmp_path):
    checkpoint, folder = request.getfixturevalue(name), request.getfixturevalue(f"{name}_checkpoint")
    path = save_model(build(checkpoint, CudaPackedDialect, "fp32"), tmp_path / "model.onnx")[0]
    token_ids = ids_of(checkpoint, texts[:6])
    feed, _ = filled(PackedLayout(64, offsets=True), token_ids)
    found = ReferenceEvaluator(onnx.load(path), new_ops=OPERATORS).run(None, feed)[0][:6]
    np.testing.assert_allclose(found, torch_vectors(folder, token_ids, "mean", True), atol=1e-5)


@pytest.mark.parametrize("dialect", [CudaDialect, CudaPackedDialect])
@pytest.mark.parametrize(
    ("activation", "operator"),
    [("gelu_tanh", "FastGelu"), ("quick_gelu", "QuickGelu"), ("relu", "Relu"), ("silu", "QuickGelu")],
)
def test_each_activation_has_an_operator_of_its_own(dialect, activation, operator, tiny, texts, tmp_path):
    spec = dataclasses.replace(tiny.spec, activation=activation)
    plan, options = PLANS["fp32"], GraphOptions("mean", normalize=False)
    graph = build_model(spec, tiny.weights, plan, dialect, options).graph
    assert Counter(node.op_type for node in graph)[operator] == spec.layers
    twin = build_model(spec, tiny.weights, plan, dialect.twin or dialect, options)
    token_ids = ids_of(tiny, texts[:6])
    layout = PackedLayout(64) if dialect is CudaPackedDialect else PaddedLayout(64)
    found = session_of(save_model(twin, tmp_path / "twin.onnx")[0]).run(None, filled(layout, token_ids)[0])[0]
    forward = NumpyForward(spec, tiny.weights)
    expected = np.stack([forward(ids).mean(axis=0) for ids in token_ids])
    np.testing.assert_allclose(found[:6], expected, atol=1e-5)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("fp16", 0.9995)])
@pytest.mark.parametrize("name", ["cuda", "cuda-packed"])
def test_biases_of_scores_reach_every_layer(mpnet, name, precision, least, texts, tmp_path):
    checkpoint, folder = mpnet
    target, token_ids = TARGETS[name], ids_of(checkpoint, [*texts[:6], texts[-1]])
    assert len(token_ids[-1]) == 300
    path = target.save_twin(checkpoint, PLANS[precision], tmp_path / "twin.onnx")[0]
    found = target.load(path, 2).run(token_ids)
    expected = torch_vectors(folder, token_ids, "cls", normalize=False)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() >= least


def test_the_packed_graph_itself_takes_biases_of_scores_longer_than_the_table(mpnet, texts, tmp_path):
    checkpoint, folder = mpnet
    path = save_model(build(checkpoint, CudaPackedDialect, "fp32"), tmp_path / "model.onnx")[0]
    token_ids = ids_of(checkpoint, [*texts[:6], texts[-1]])
    feed, _ = filled(PackedLayout(checkpoint.max_length, offsets=True), token_ids)
    assert feed["token_offset"].shape[1] > checkpoint.spec.max_positions
    found = ReferenceEvaluator(onnx.load(path), new_ops=OPERATORS).run(None, feed)[0][: len(token_ids)]
    np.testing.assert_allclose(found, torch_vectors(folder, token_ids, "mean", True), atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_onnxruntime_takes_the_packed_graph_but_for_the_kernel(tiny, mpnet, biased, tmp_path):
    checkpoint = mpnet[0] if biased else tiny
    path = save_model(build(checkpoint, CudaPackedDialect, "fp16"), tmp_path / "model.onnx")[0]
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED.*PackedMultiHeadAttention"):
        session_of(path)


@pytest.mark.parametrize("precision", PLANS)
def test_the_packed_graph_and_its_twin_differ_in_attention_only(tiny, precision):
    graphs = [build(tiny, each, precision).graph for each in (CudaPackedDialect, CudaPackedDialect.twin)]
    packed, twin = (Counter(node.op_type for node in graph) for graph in graphs)
    assert packed["PackedMultiHeadAttention"] == tiny.spec.layers
    assert twin["Softmax"] == tiny.spec.layers
    common = ("SkipLayerNormalization", "BiasGelu", "LayerNormalization", "Div")
    assert [packed[each] for each in common] == [twin[each] for each in common]
    weights = [
        {
            name: value.const_value.tobytes()
            for name, value in graph.initializers.items()
            if "const" not in name
        }
        for graph in graphs
    ]
    assert weights[0] == weights[1]


def test_inputs_are_those_of_the_packed_layout(tiny):
    graph = build(tiny, CudaPackedDialect, "fp16").graph
    types = {value.name: value.dtype.numpy() for value in graph.inputs}
    assert types == dict(PackedLayout(64, offsets=True).types)
    assert [value.name for value in graph.outputs] == ["sentence_embedding"]


def mask_of(checkpoint, precision, path):
    """What the padded graph gives to attention for texts of 3 and 1 tokens."""
    model = onnx.load(save_model(build(checkpoint, CudaDialect, precision), path)[0])
    masks = {node.input[4] for node in model.graph.node if node.op_type == "MultiHeadAttention"}
    (mask,) = masks
    model.graph.output.append(onnx.helper.make_tensor_value_info(mask, onnx.TensorProto.INT32, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"input_ids": np.array([[5, 6, 7], [8, 0, 0]]), "attention_mask": np.array([[1, 1, 1], [1, 0, 0]])}
    return session.run([mask], feed)[0].tolist()


def test_attention_is_told_lengths_and_where_rows_start(tiny, tmp_path):
    assert mask_of(tiny, "fp16", tmp_path / "model.onnx") == [3, 1, *(0, 3, 6), *(0, 3, 6)]


def test_attention_is_told_lengths_only_where_kernels_may_read_starts_wrong(tiny, mpnet, tmp_path):
    assert mask_of(tiny, "fp32", tmp_path / "model.onnx") == [3, 1]
    folder = synthetic.make_checkpoint(tmp_path / "odd", **{**synthetic.TINY, "hidden": 48})
    odd = load_checkpoint(str(folder))
    assert odd.spec.head_size == 12
    assert mask_of(odd, "fp16", tmp_path / "model.onnx") == [3, 1]
    assert mask_of(mpnet[0], "fp16", tmp_path / "model.onnx") == [3, 1]


@pytest.mark.parametrize("dialect", [CudaDialect, CudaPackedDialect])
def test_normalization_has_the_checkpoints_epsilon(tiny, dialect):
    spec = dataclasses.replace(tiny.spec, norm_eps=0.25)
    model = build_model(spec, tiny.weights, PLANS["fp16"], dialect, GraphOptions("mean", True))
    found = {
        node.attributes["epsilon"].value
        for node in model.graph
        if node.op_type.endswith("LayerNormalization")
    }
    assert found == {0.25}


@pytest.mark.parametrize("dialect", [CudaDialect, CudaPackedDialect])
def test_a_graph_that_lost_a_layer_is_refused(tiny, dialect):
    fewer = dataclasses.replace(tiny.weights, layers=tiny.weights.layers[:1])
    with pytest.raises(AssertionError, match="every layer"):
        build_model(tiny.spec, fewer, PLANS["fp16"], dialect, GraphOptions("mean", True))


@pytest.fixture(scope="module")
def bundle(minilm, few_texts, tmp_path_factory):
    """The real checkpoint in fp16, through the gate. Few texts: a CPU takes long for arithmetic in fp16."""
    folder = tmp_path_factory.mktemp("cuda") / "bundle"
    targets = ("cpu", "cuda", "cuda-packed")
    return export(ExportRequest(str(minilm), folder, ("fp16",), targets, gate=str(few_texts)))


def test_a_bundle_holds_both_beside_the_graph_for_a_cpu(bundle):
    found = {each.name: (each.files[0].path, each.layout) for each in bundle.manifest.artifacts}
    assert found == {
        "fp16-cpu": ("onnx/model.onnx", "padded"),
        "fp16-cuda": ("gpu/model_fp16_cuda.onnx", "padded"),
        "fp16-cuda-packed": ("gpu/model_fp16_cuda-packed.onnx", "packed"),
    }
    for artifact in bundle.manifest.artifacts:
        assert (artifact.format, artifact.dialect) == ("onnx", "onnxruntime")
        assert bundle.verify_artifact(artifact).stat().st_size > 40e6
    assert not list(bundle.path.glob("**/twin*"))


def test_both_are_judged_by_what_they_compute_on_a_cpu(bundle):
    for artifact in bundle.manifest.artifacts[1:]:
        assert artifact.fidelity.of == "graph"
        assert artifact.fidelity.enforced
        assert artifact.fidelity.min_cosine >= 0.9999


@pytest.mark.parametrize("target", ["cuda", "cuda-packed"])
def test_int8_is_refused_before_any_work_with_what_to_take_instead(tiny_checkpoint, tmp_path, target, capsys):
    out = tmp_path / "out" / "bundle"
    assert main([str(tiny_checkpoint), "-o", str(out), "--precision", "int8", "--target", target]) == 2
    message = capsys.readouterr().err
    assert "--precision fp16" in message
    assert "--target tensorrt" in message
    assert not out.parent.exists()


def test_the_command_writes_a_packed_graph(tiny_checkpoint, tmp_path, capsys):
    arguments = ["--precision", "fp16", "--target", "cuda-packed", "--json"]
    assert main([str(tiny_checkpoint), "-o", str(tmp_path / "bundle"), *arguments]) == 0
    (artifact,) = json.loads(capsys.readouterr().out)["artifacts"]
    assert artifact["files"] == ["gpu/model_fp16_cuda-packed.onnx"]
