"""Bundles of graphs that another tool has exported; here graphs of our own, changed to look like theirs."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import synthetic
from families import LONGEST, make_family
from m3e_export import ExportRequest, export
from m3e_export.cli import main
from m3e_export.errors import BelowGateError, CheckpointError, OptionError, UnsupportedModelError
from m3e_export.generic import ITSELF, from_onnx_folder
from m3e_runtime import Bundle, Encoder

TEXTS = ["今天天气很好", "Hello, world!", "", "word " * 300]


@pytest.fixture(scope="module")
def standard(tiny_checkpoint, tmp_path_factory) -> Path:
    """A bundle in standard operators, whose graph gives the states as well."""
    folder = tmp_path_factory.mktemp("standard") / "bundle"
    return export(ExportRequest(str(tiny_checkpoint), folder, targets=("portable",), oracle="numpy")).path


@pytest.fixture(scope="module")
def expected(standard):
    return Encoder.load(standard).encode(TEXTS)


@pytest.fixture
def folder(standard, tiny_checkpoint, tmp_path) -> Path:
    """A checkpoint's small files with a graph, as Optimum leaves them: no weights beside it."""
    target = tmp_path / "given"
    shutil.copytree(tiny_checkpoint, target, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    shutil.copy(standard / "onnx" / "model.onnx", target / "model.onnx")
    return target


def change(folder: Path, edit) -> None:
    model = onnx.load(folder / "model.onnx")
    edit(model.graph)
    onnx.save(model, folder / "model.onnx")


def only_states(graph) -> None:
    graph.output.remove(next(each for each in graph.output if each.name == "sentence_embedding"))


def with_token_types(graph) -> None:
    """Token types are added to the ids, so that others than zero would show."""
    for node in graph.node:
        node.input[:] = ["ids" if name == "input_ids" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"]))
    shape = ["batch", "length"]
    graph.input.append(helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, shape))


def ignoring_the_mask(graph) -> None:
    """Every token counts, padding too."""
    for node in graph.node:
        node.input[:] = ["all_ones" if name == "attention_mask" else name for name in node.input]
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph.node.insert(0, helper.make_node("Shape", ["input_ids"], ["size"]))
    graph.node.insert(1, helper.make_node("ConstantOfShape", ["size"], ["all_ones"], value=one))
    graph.node.append(helper.make_node("Identity", ["attention_mask"], ["unused"]))


def test_a_graph_that_gives_vectors(folder, tmp_path, expected):
    bundle = from_onnx_folder(folder, tmp_path / "bundle")
    encoder = Encoder.load(bundle.path)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    fidelity = bundle.manifest.artifacts[0].fidelity
    assert fidelity.oracle == ITSELF == "the given graph"
    assert fidelity.enforced
    assert encoder.info["artifact"] == "fp32-given"


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_positions_of_padding_are_no_tokens(family, tmp_path):
    pytest.importorskip("torch", reason="torch, with which the checkpoint is made, is not installed")
    given = make_family(tmp_path / "given", family)
    request = ExportRequest(str(given), tmp_path / "ours", targets=("portable",), oracle="numpy", gate="off")
    ours = export(request)
    shutil.copy(ours.path / "onnx" / "model.onnx", given / "model.onnx")
    bundle = from_onnx_folder(given, tmp_path / "bundle")
    assert bundle.manifest.tokenization.max_length == LONGEST[family]
    found, expected = (Encoder.load(each.path).encode(TEXTS) for each in (bundle, ours))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def in_half_precision(graph) -> None:
    for node in graph.node:
        node.output[:] = ["wide" if name == "sentence_embedding" else name for name in node.output]
    graph.node.append(helper.make_node("Cast", ["wide"], ["sentence_embedding"], to=TensorProto.FLOAT16))
    for value in graph.output:
        if value.name == "sentence_embedding":
            value.type.tensor_type.elem_type = TensorProto.FLOAT16


def test_vectors_in_half_precision_are_widened(folder, tmp_path, expected):
    change(folder, in_half_precision)
    vectors = Encoder.load(from_onnx_folder(folder, tmp_path / "bundle").path).encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=2e-3)
    np.testing.assert_array_equal(vectors, vectors.astype(np.float16))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_is_added(folder, tiny_checkpoint, tmp_path, pooling, normalize):
    change(folder, only_states)
    change(folder, with_token_types)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    for place in (folder, shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")):
        synthetic.write_json(place / "modules.json", synthetic.modules_of(*kinds))
        flags = {
            "word_embedding_dimension": 64,
            f"pooling_mode_{pooling}_token{'s' * (pooling == 'mean')}": True,
        }
        synthetic.write_json(place / "1_Pooling" / "config.json", flags)
    bundle = from_onnx_folder(folder, tmp_path / "bundle")
    request = ExportRequest(
        str(tmp_path / "checkpoint"), tmp_path / "exported", targets=("portable",), oracle="numpy"
    )
    expected = Encoder.load(export(request).path).encode(TEXTS)
    np.testing.assert_allclose(Encoder.load(bundle.path).encode(TEXTS), expected, atol=1e-5)
    assert bundle.manifest.pooling == pooling
    assert bundle.manifest.normalize is normalize
    assert set(bundle_inputs(bundle.path)) == {"input_ids", "attention_mask"}


def bundle_inputs(bundle: Path) -> list[str]:
    return [each.name for each in onnx.load(bundle / "onnx" / "model.onnx").graph.input]


def test_weights_beside_it_are_the_oracle(folder, tiny_checkpoint, tmp_path):
    for file in tiny_checkpoint.glob("*.safetensors"):
        shutil.copy(file, folder)
    bundle = from_onnx_folder(folder, tmp_path / "bundle")
    assert bundle.manifest.artifacts[0].fidelity.oracle != ITSELF
    synthetic.rewrite_tensors(folder, embeddings__LayerNorm__weight=np.linspace(-1, 1, 64, dtype=np.float32))
    with pytest.raises(BelowGateError, match="min_cosine"):
        from_onnx_folder(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_padding_that_counts_is_found(folder, tmp_path):
    change(folder, ignoring_the_mask)
    with pytest.raises(BelowGateError, match="min_cosine"):
        from_onnx_folder(folder, tmp_path / "bundle")
    off = from_onnx_folder(folder, tmp_path / "bundle", gate="off")
    assert not off.manifest.artifacts[0].fidelity.enforced


def test_padding_that_counts_is_found_beside_weights(folder, tiny_checkpoint, tmp_path):
    shutil.copy(tiny_checkpoint / "model.safetensors", folder)
    change(folder, ignoring_the_mask)
    with pytest.raises(BelowGateError, match="in batches, where padding shows"):
        from_onnx_folder(folder, tmp_path / "bundle")


def write_lookup(folder: Path, hidden: int) -> np.ndarray:
    """A graph of opset 13 that gives rows of a table as states; returns the table."""
    table = np.random.default_rng(0).normal(size=(2000, hidden)).astype(np.float32)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "l", hidden])
    node = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
    graph = helper.make_graph(
        [node], "lookup", inputs, [states], [onnx.numpy_helper.from_array(table, "table")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return table


def test_every_pooling_and_dense_are_added_in_the_graphs_own_opset(folder, tmp_path):
    table = write_lookup(folder, 64)
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    synthetic.write_json(folder / "modules.json", synthetic.modules_of(*kinds))
    flags = {"word_embedding_dimension": 64, "pooling_mode_max_tokens": True, "pooling_mode_lasttoken": True}
    synthetic.write_json(folder / "1_Pooling" / "config.json", flags)
    weight = np.random.default_rng(1).normal(size=(16, 128)).astype(np.float32)
    settings = {"in_features": 128, "out_features": 16, "bias": False}
    synthetic.write_json(folder / "2_Dense" / "config.json", settings)
    synthetic.write_weights(folder / "2_Dense", {"linear.weight": weight})
    bundle = from_onnx_folder(folder, tmp_path / "bundle")
    encoder = Encoder.load(bundle.path)
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        states = table[encoder.tokenizer.encode(text)]
        expected = np.tanh(weight @ np.concatenate([states.max(axis=0), states[-1]]))
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert bundle.manifest.artifacts[0].requires["opset"] == "13"
    assert [each["path"] for each in synthetic.read_json(bundle.path / "modules.json")][2:] == [
        "2_Dense",
        "3_Normalize",
    ]


def test_a_graph_with_dense_modules_in_it_is_no_folder_for_other_tools(folder, tmp_path, expected):
    """They would pool its states, and the Dense module is in the graph alone."""
    synthetic.write_json(
        folder / "modules.json", synthetic.modules_of("Transformer", "Pooling", "Dense", "Normalize")
    )
    bundle = from_onnx_folder(folder, tmp_path / "bundle")
    np.testing.assert_allclose(Encoder.load(bundle.path).encode(TEXTS), expected, atol=1e-6)
    assert not (bundle.path / "modules.json").exists()


@pytest.mark.parametrize("pooling", ["first_last_mean", "pooler"])
def test_a_pooling_of_more_than_the_last_states_is_refused(folder, tmp_path, pooling):
    change(folder, only_states)
    with pytest.raises(UnsupportedModelError, match=f"{pooling}.*choose another"):
        from_onnx_folder(folder, tmp_path / "bundle", pooling=pooling)


def test_the_command(folder, tmp_path, monkeypatch, capsys, expected):
    monkeypatch.chdir(tmp_path)
    assert main(["given", "-o", "out"]) == 4
    assert "there is model.onnx: add --exporter given to make a bundle of it" in capsys.readouterr().err
    assert main(["given", "--exporter", "given", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["bundle"], result["artifacts"][0]["name"]) == ("given-onnx", "fp32-given")
    np.testing.assert_allclose(Encoder.load("given-onnx").encode(TEXTS), expected, atol=1e-6)
    (folder / "model.onnx").rename(folder / "other.onnx")
    options = ["given", "--exporter", "given", "--max-length", "16", "--force"]
    assert main([*options, "-o", "given-onnx"]) == 4
    assert "name it with --graph" in capsys.readouterr().err
    assert main([*options, "-o", "given-onnx", "--graph", "other.onnx"]) == 0
    assert Bundle.open("given-onnx").manifest.tokenization.max_length == 16
    assert main([*options, "--target", "native"]) == 2
    assert "--target is not for --exporter given" in capsys.readouterr().err
    assert main(["no-such-folder", "--exporter", "given"]) == 4


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({}, 512),
        ({"max_position_embeddings": 100}, 100),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),
        ({"model_type": "data2vec-text", "max_position_embeddings": 130, "pad_token_id": None}, 128),
        ({"model_type": "t5", "max_position_embeddings": -1}, 512),
    ],
)
def test_the_longest_text_is_what_the_files_say(folder, tmp_path, config, length):
    synthetic.update_json(folder / "config.json", **config)
    assert from_onnx_folder(folder, tmp_path / "bundle").manifest.tokenization.max_length == length


def test_a_length_that_nothing_says_is_asked_for(folder, tmp_path):
    synthetic.update_json(folder / "config.json", remove=("max_position_embeddings",))
    (folder / "sentence_bert_config.json").unlink()
    synthetic.update_json(folder / "tokenizer_config.json", model_max_length=1e30)
    with pytest.raises(CheckpointError, match=r"maximum length of a text.* sentence_bert_config\.json"):
        from_onnx_folder(folder, tmp_path / "bundle")


def test_places_and_lengths(folder, tmp_path):
    (folder / "onnx").mkdir()
    shutil.move(folder / "model.onnx", folder / "onnx" / "model.onnx")
    bundle = from_onnx_folder(folder, tmp_path / "bundle", max_length=16)
    assert bundle.manifest.tokenization.max_length == 16
    with pytest.raises(OptionError, match="exists"):
        from_onnx_folder(folder, tmp_path / "bundle")
    from_onnx_folder(folder, tmp_path / "bundle", file="onnx/model.onnx", force=True)
    for length in (2, 100_000):
        with pytest.raises(OptionError, match=f"max_length={length}"):
            from_onnx_folder(folder, tmp_path / "other", max_length=length)


def rename_output(graph) -> None:
    del graph.output[:]
    graph.node.append(helper.make_node("Identity", ["sentence_embedding"], ["logits"]))
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 64]))


def add_positions(graph) -> None:
    graph.input.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["batch", "length"]))


def narrow_inputs(graph) -> None:
    graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def foreign_operator(graph) -> None:
    graph.node[0].domain = "com.example"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (rename_output, "its outputs are logits"),
        (add_positions, "position_ids"),
        (narrow_inputs, "not int64"),
        (foreign_operator, "com.example"),
    ],
)
def test_graphs_that_are_no_encoders(folder, tmp_path, edit, words):
    change(folder, edit)
    with pytest.raises(UnsupportedModelError, match=words):
        from_onnx_folder(folder, tmp_path / "bundle")


def test_no_graph_or_a_damaged_one(folder, tmp_path):
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_onnx_folder(folder, tmp_path / "bundle")
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="no graph found"):
        from_onnx_folder(folder, tmp_path / "bundle")
