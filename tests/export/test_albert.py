"""What only ALBERT has: layers that share weights, and a matrix behind the embeddings."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from transformers import AlbertModel, BertTokenizerFast

from families import make_family
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import (
    CudaDialect,
    CudaPackedDialect,
    OnnxRuntimeDialect,
    StandardDialect,
    TensorRtDialect,
    TensorRtPackedDialect,
)
from m3e_export.inputs import model_inputs
from m3e_export.native import save_native
from m3e_export.oracle import load_oracle
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.calibration import calibrate
from m3e_export.precision.embeddings import Int8Embeddings
from m3e_export.precision.input_sample import InputSample
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.gpu.batch_shapes import PackedLayout
from synthetic import update_json, vocabulary

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
SHARING = {"num_hidden_layers": 6}
IDS = [np.random.default_rng(n).integers(5, 1900, size=n).astype(np.int32) for n in (9, 1, 4, 30, 2, 17)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six layers of one group, embeddings half as wide."""
    return make_family(tmp_path_factory.mktemp("albert") / "model", "albert", config=SHARING)


@pytest.fixture(scope="module")
def checkpoint(folder):
    return load_checkpoint(str(folder))


@pytest.fixture(scope="module")
def expected(checkpoint):
    """The mean of each text's states, which test_architectures.py holds against PyTorch."""
    forward = NumpyForward(checkpoint.spec, checkpoint.weights)
    return np.stack([forward(ids).mean(axis=0) for ids in IDS])


def fp32_plan(checkpoint):
    del checkpoint
    return float_plan("fp32")


def fp16_plan(checkpoint):
    del checkpoint
    return float_plan("fp16")


def int8_plan(checkpoint):
    """Every matrix, the projection too; the search leaves that one out."""
    linears = checkpoint.weights.linears()
    quantized = {linear.name: quantize_linear(linear, together=4) for linear in linears}
    return PrecisionPlan(np.float16, np.float32, Int8Embeddings(), quantized)


def static_int8_plan(checkpoint):
    plan = int8_plan(checkpoint)
    quantized = {name: dataclasses.replace(each, input_scale=0.05) for name, each in plan.quantized.items()}
    return dataclasses.replace(float_plan("fp16"), quantized=quantized)


DIALECTS = {
    "onnxruntime": (OnnxRuntimeDialect, (fp32_plan, fp16_plan, int8_plan)),
    "standard": (StandardDialect, (fp32_plan, fp16_plan, int8_plan)),
    "cuda": (CudaDialect, (fp32_plan, fp16_plan)),
    "cuda-packed": (CudaPackedDialect.twin, (fp32_plan, fp16_plan)),
    "tensorrt": (TensorRtDialect, (fp32_plan, fp16_plan, static_int8_plan)),
    "tensorrt-packed": (TensorRtPackedDialect.twin, (fp32_plan, fp16_plan, static_int8_plan)),
}
GRAPHS = [(name, plan) for name, (_, plans) in DIALECTS.items() for plan in plans]
TOLERANCE = {fp32_plan: 1e-5, fp16_plan: 5e-3, int8_plan: 0.15, static_int8_plan: 0.15}


def graph_of(checkpoint, dialect, plan_of):
    options = GraphOptions("mean", normalize=False)
    return build_model(checkpoint.spec, checkpoint.weights, plan_of(checkpoint), dialect, options)


@pytest.mark.parametrize(("name", "plan_of"), GRAPHS)
def test_every_dialect_gives_the_encoders_vectors(name, plan_of, checkpoint, expected, tmp_path):
    dialect = DIALECTS[name][0]
    file = save_model(graph_of(checkpoint, dialect, plan_of), tmp_path / "model.onnx")[0]
    layout = PackedLayout(max_length=1) if dialect.texts_type.layout == "packed" else None
    found = OnnxRuntimeCpu(file, 2, layout=layout).run(IDS)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[plan_of])


@pytest.mark.parametrize(("name", "plan_of"), GRAPHS)
def test_a_graph_has_each_matrix_once_and_widens_it_once(name, plan_of, checkpoint, tmp_path):
    path = save_model(graph_of(checkpoint, DIALECTS[name][0], plan_of), tmp_path / "model.onnx")[0]
    model = onnx.load(path)
    onnx.checker.check_model(str(path), full_check=name in ("standard", "tensorrt"))
    matrices = [
        each.name for each in model.graph.initializer if each.name.startswith(("layer.", "embedding_p"))
    ]
    assert len(matrices) == len(set(matrices))
    assert sum(each.endswith((".weight", ".codes")) for each in matrices) == 4 + 1
    casts = Counter(node.input[0] for node in model.graph.node if node.op_type == "Cast")
    assert all(casts[each] <= 1 for each in matrices)


def saved(checkpoint, plan_of, path):
    save_native(checkpoint.spec, checkpoint.weights, plan_of(checkpoint), "mean", False, path)
    return path


@pytest.mark.parametrize("plan_of", [fp32_plan, fp16_plan, int8_plan])
def test_a_native_file_is_as_large_for_six_layers_as_for_one(plan_of, checkpoint, tmp_path):
    once = make_family(tmp_path / "once", "albert", config={"num_hidden_layers": 1})
    small = saved(load_checkpoint(str(once)), plan_of, tmp_path / "small").stat().st_size
    assert abs(saved(checkpoint, plan_of, tmp_path / "large").stat().st_size - small) <= 64  # of the header
    with safe_open(tmp_path / "large", "numpy") as file:
        assert file.metadata()["layer_weights"] == "0,0,0,0,0,0"


@needs_native
@pytest.mark.parametrize("plan_of", [fp32_plan, fp16_plan, int8_plan])
@pytest.mark.parametrize("width", [32, 64, 100])
def test_the_native_engine_projects_embeddings_of_any_width(plan_of, width, tmp_path):
    config = {**SHARING, "embedding_size": width}
    checkpoint = load_checkpoint(str(make_family(tmp_path / "model", "albert", config=config)))
    forward = NumpyForward(checkpoint.spec, checkpoint.weights)
    expected = np.stack([forward(ids).mean(axis=0) for ids in IDS])
    found = NativeCpu(saved(checkpoint, plan_of, tmp_path / "weights"), 2).run(IDS)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[plan_of])


@needs_native
@pytest.mark.parametrize("plan_of", [fp32_plan, int8_plan])
def test_a_text_gives_the_same_bytes_in_any_batch_with_any_threads(plan_of, checkpoint, tmp_path):
    file = saved(checkpoint, plan_of, tmp_path / "weights")
    lengths = [1, 2, 16, 33, 128, 5, 90, 12]
    ids = [np.random.default_rng(n).integers(5, 1900, size=n).astype(np.int32) for n in lengths]
    expected = np.concatenate([NativeCpu(file, 1).run([each]) for each in ids])
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(NativeCpu(file, threads).run(ids), expected)


def test_int8_counts_a_matrix_once_and_leaves_the_projection_alone(folder, few_texts, tmp_path):
    request = ExportRequest(
        str(folder), tmp_path / "bundle", precisions=("int8",), gate="off", oracle="numpy",
        calibration=few_texts,
    )  # fmt: skip
    for artifact in export(request).manifest.artifacts:
        assert artifact.mix == {"int8": 4, "float16": 1}
        assert artifact.kept == ("embedding_projection",)


def test_calibration_sees_a_matrix_in_every_layer(checkpoint, texts, tmp_path):
    sample = calibrate(checkpoint, model_inputs(checkpoint, texts), lambda done: None, tmp_path).samples[
        "layer.0.qkv"
    ]
    forward = NumpyForward(checkpoint.spec, checkpoint.weights)
    inputs = [state for ids in encoded(checkpoint, texts) for state in forward.states(ids)[:-1]]
    np.testing.assert_allclose(sample.mean(), np.concatenate(inputs).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("layers", [6, 12])
@pytest.mark.parametrize("number_of_texts", [96, 192, 256, 384, 1000])
def test_the_rows_kept_of_a_matrix_are_of_every_layer(layers, number_of_texts):
    sample = InputSample(1)
    for _ in range(number_of_texts):
        for layer in range(layers):
            sample.add(np.full((20, 1), layer, np.float32))
    rows = Counter(sample.rows()[:, 0].astype(int).tolist())
    assert set(rows) == set(range(layers))
    assert min(rows.values()) > 0.5 * max(rows.values())


def encoded(checkpoint, texts):
    return checkpoint.text_tokenizer().encode_batch(texts)


@pytest.mark.parametrize(
    ("layers", "groups", "inner"), [(5, 2, 1), (4, 3, 1), (2, 4, 1), (12, 12, 1), (3, 2, 2), (1, 1, 3)]
)
def test_layers_take_the_groups_that_transformers_gives_them(layers, groups, inner, tmp_path):
    sizes = {"num_hidden_layers": layers, "num_hidden_groups": groups, "inner_group_num": inner}
    folder = make_family(tmp_path / "model", "albert", config=sizes)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.spec.layers == layers * inner
    model = AlbertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        given = torch.from_numpy(IDS[0].astype(np.int64))[None]
        expected = model(given, output_hidden_states=True).hidden_states
    found = NumpyForward(checkpoint.spec, checkpoint.weights).states(IDS[0])
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other[0].numpy(), atol=2e-5)


def test_words_are_not_added_to_states_of_another_width(folder):
    with pytest.raises(UnsupportedModelError, match=r"32 and 64; .*--pooling"):
        load_checkpoint(str(folder), pooling="embedding_last_mean")


def test_what_the_config_leaves_out_is_as_in_transformers(tmp_path):
    bare = make_family(tmp_path / "model", "albert", config={"embedding_size": 128})
    left_out = ("embedding_size", "num_hidden_groups", "inner_group_num", "hidden_act")
    update_json(bare / "config.json", remove=left_out)
    spec = load_checkpoint(str(bare)).spec
    assert (spec.embedding_size, spec.layers, spec.activation) == (128, 3, "gelu_tanh")


DAMAGED = {
    "no groups": ({"num_hidden_groups": 0}, "num_hidden_groups"),
    "more groups than there are": ({"num_hidden_groups": 2}, "albert_layer_groups.1"),
    "groups a word": ({"num_hidden_groups": "all"}, "num_hidden_groups"),
    "groups null": ({"num_hidden_groups": None}, "num_hidden_groups"),
    "no layers in a group": ({"inner_group_num": 0}, "inner_group_num"),
    "more layers in a group than there are": ({"inner_group_num": 2}, "albert_layers.1"),
    "more layers in all than an engine takes": ({"inner_group_num": 1000}, "from 1 to 170"),
    "embeddings of another width": ({"embedding_size": 64}, "config.json says"),
    "embeddings of no width": ({"embedding_size": 0}, "embedding_size"),
    "embeddings of a huge width": ({"embedding_size": 1 << 40}, "embedding_size"),
}


@pytest.mark.parametrize(("changes", "named"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_config_that_does_not_fit_is_a_checkpoint_error(changes, named, tmp_path):
    damaged = make_family(tmp_path / "model", "albert", config=SHARING)
    update_json(damaged / "config.json", **changes)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(damaged))


def test_a_chinese_albert_that_names_no_tokenizer_has_berts_vocabulary(tmp_path):
    """As on the hub. transformers' AutoTokenizer would know five tokens then."""
    folder = make_family(tmp_path / "model", "albert, groups")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary(2000)), encoding="utf-8")
    checkpoint, sentences = load_checkpoint(str(folder)), ["今天天气很好 hello", "the weather"]
    tokens = BertTokenizerFast.from_pretrained(folder)(sentences)["input_ids"]
    assert [ids.tolist() for ids in encoded(checkpoint, sentences)] == tokens
    ours, theirs = (
        load_oracle(checkpoint, name).encode(sentences, lambda done: None) for name in ("numpy", "torch")
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
