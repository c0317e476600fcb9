"""Folders of rerankers and classifiers: what transformers and each version of CrossEncoder have written."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from families import make_classifier, write_wordpiece
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.errors import OptionError
from m3e_export.oracle import load_score_oracle
from synthetic import read_json, rewrite_tensors, update_json, write_json

SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
PAIRS = (["a", "天气怎么样", "weather " * 99], ["the weather is good", "", "今天天气很好 " * 99])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A reranker as transformers saves it. Read only."""
    return make_classifier(tmp_path_factory.mktemp("plain") / "model", "bert", 1)


@pytest.fixture(scope="module")
def saved(plain, tmp_path_factory):
    """The same as this version of CrossEncoder saves it. Read only."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = CrossEncoder(
        str(plain),
        device="cpu",
        max_length=64,
        activation_fn=torch.nn.Identity(),
        prompts={"query": "Query: ", "none": ""},
        default_prompt_name="query",
    )
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture
def folder(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "plain")


@pytest.fixture
def layout(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "saved")


def classification(folder):
    return load_checkpoint(str(folder)).classification


def logits(oracle, texts=PAIRS[0], passages=PAIRS[1]):
    return oracle.logits(texts, passages, lambda done: None)


def test_a_plain_folder(plain):
    checkpoint = load_checkpoint(str(plain))
    assert checkpoint.classification.labels == ("LABEL_0",)
    assert (checkpoint.classification.activation, checkpoint.classification.token_types) == ("sigmoid", True)
    assert (checkpoint.dimension, checkpoint.max_length) == (1, 128)
    assert checkpoint.sentence_config.pooling == "cls"
    assert not checkpoint.sentence_config.normalize


def test_a_folder_that_cross_encoder_wrote(saved):
    checkpoint = load_checkpoint(str(saved))
    assert checkpoint.classification.activation == "identity"
    assert checkpoint.max_length == CrossEncoder(str(saved), device="cpu").max_seq_length == 64
    assert checkpoint.sentence_config.prompts == {"none": "", "query": "Query: "}
    assert checkpoint.sentence_config.default_prompt_name == "query"


@pytest.mark.parametrize(
    "entries",
    [
        {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}},
        {"sentence_transformers": {"activation_fn": "torch.nn.Sigmoid"}},
        {"sbert_ce_default_activation_function": IDENTITY},
        {"sbert_ce_default_activation_function": None},
        {
            "sentence_transformers": {"activation_fn": SIGMOID},
            "sbert_ce_default_activation_function": IDENTITY,
        },
        {"sentence_transformers": {"version": "4.1.0"}, "sbert_ce_default_activation_function": IDENTITY},
        {"sentence_transformers": {"activation_fn": None}, "sbert_ce_default_activation_function": IDENTITY},
    ],
)
def test_the_activation_of_older_folders_is_cross_encoders(folder, entries):
    update_json(folder / "config.json", **entries)
    theirs = type(CrossEncoder(str(folder), device="cpu").activation_fn).__name__.lower()
    assert classification(folder).activation == theirs


def test_the_activation_of_newer_folders_counts_before_config_json(layout):
    update_json(layout / "config.json", sentence_transformers={"activation_fn": SIGMOID})
    assert classification(layout).activation == "identity"
    update_json(layout / "config_sentence_transformers.json", activation_fn=None)
    assert classification(layout).activation == "sigmoid"


@pytest.mark.parametrize("name", ["torch.nn.modules.activation.Tanh", "my_code.Scale", "torch.nn.Softmax"])
def test_other_activations_are_refused_by_name(folder, layout, name):
    update_json(layout / "config_sentence_transformers.json", activation_fn=name)
    with pytest.raises(UnsupportedModelError, match=name):
        load_checkpoint(str(layout))
    update_json(layout / "config.json", sbert_ce_default_activation_function=name)
    shutil.copy(layout / "config.json", folder)
    with pytest.raises(UnsupportedModelError, match=f"config.json.*{name}"):
        load_checkpoint(str(folder))


@pytest.fixture
def folder_of(tmp_path):
    return lambda labels: make_classifier(tmp_path / "model", "bert", labels)


def test_labels_are_in_the_order_of_their_numbers(folder_of):
    folder = folder_of(11)
    names = {str(number): f"label {number}" for number in reversed(range(11))}
    update_json(folder / "config.json", id2label=names)
    found = classification(folder)
    assert found.labels == tuple(f"label {number}" for number in range(11))
    assert found.activation == "identity"


def test_labels_without_names(folder_of):
    folder = folder_of(2)
    update_json(folder / "config.json", remove=("id2label", "label2id", "num_labels"))
    assert classification(folder).labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "lacks the label 1"),
        ({"id2label": {}}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
        ({"id2label": None, "num_labels": 0}, "num_labels"),
        ({"id2label": {"0": "a", "1": "b"}}, r"classifier\.weight: shape \(1, 64\)"),
    ],
)
def test_labels_that_cannot_be(folder, entries, message):
    update_json(folder / "config.json", **entries)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["classifier.bias", "bert.pooler.dense.weight"])
def test_missing_tensors_are_refused(folder, name):
    rewrite_tensors(folder, **{name.replace(".", "__"): None})
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("file", "entries", "message"),
    [
        ("sentence_bert_config.json", {"transformer_task": "feature-extraction"}, "feature-extraction"),
        ("sentence_bert_config.json", {"module_output_name": "token_embeddings"}, "module_output_name"),
        ("sentence_bert_config.json", {"unknown_setting": 1}, "unknown_setting"),
        ("config.json", {"architectures": ["BertModel"]}, "BertModel"),
        ("config.json", {"architectures": None}, "no class"),
        ("config_sentence_transformers.json", {"model_type": "OtherEncoder"}, "OtherEncoder"),
        ("config_sentence_transformers.json", {"model_type": "SentenceTransformer"}, "transformer_task"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(layout, file, entries, message):
    update_json(layout / file, **entries)
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint(str(layout))


def test_other_modules_are_refused(layout):
    entry = {
        "idx": 1,
        "name": "1",
        "path": "1_Dense",
        "type": "sentence_transformers.base.modules.dense.Dense",
    }
    write_json(layout / "modules.json", [*read_json(layout / "modules.json"), entry])
    with pytest.raises(UnsupportedModelError, match="Transformer → Dense"):
        load_checkpoint(str(layout))


def test_an_adapter_of_a_reranker_is_refused(plain, layout, tmp_path):
    adapter = tmp_path / "adapter"
    write_json(adapter / "adapter_config.json", {"base_model_name_or_path": str(plain), "peft_type": "LORA"})
    with pytest.raises(UnsupportedModelError, match="merge_and_unload"):
        load_checkpoint(str(adapter))
    shutil.copy(adapter / "adapter_config.json", layout)
    with pytest.raises(UnsupportedModelError, match="merge_and_unload"):
        load_checkpoint(str(layout))


def test_routes_and_other_exporters_are_refused(plain, tmp_path):
    with pytest.raises(OptionError, match="--route"):
        load_checkpoint(str(plain), route="query")
    with pytest.raises(UnsupportedModelError, match="--exporter own"):
        export(ExportRequest(str(plain), tmp_path / "bundle", exporter="torch"))


@pytest.mark.parametrize("name", ["plain", "saved"])
def test_a_pooling_asks_for_the_encoder(name, request):
    checkpoint = load_checkpoint(str(request.getfixturevalue(name)), pooling="mean")
    assert checkpoint.classification is None
    assert checkpoint.weights.token_type_embeddings is None
    assert checkpoint.dimension == 64


def test_the_input_names_of_the_tokenizer_decide_on_token_types(folder):
    file = folder / "tokenizer_config.json"
    update_json(file, model_input_names=["input_ids", "attention_mask"])
    assert not classification(folder).token_types
    update_json(file, model_input_names=["input_ids", "token_type_ids"], tokenizer_class="AlbertTokenizer")
    assert classification(folder).token_types
    update_json(file, remove=("model_input_names",))
    assert not classification(folder).token_types


def test_cross_encoder_is_the_oracle(saved):
    """Its default prompt and activation are not applied."""
    checkpoint = load_checkpoint(str(saved))
    oracle = load_score_oracle(checkpoint)
    assert oracle.name.startswith("sentence-transformers ")
    np.testing.assert_allclose(
        logits(oracle), logits(load_score_oracle(checkpoint, "numpy")), atol=1e-5, rtol=0
    )
    model = CrossEncoder(str(saved), device="cpu")
    model.default_prompt_name = None
    theirs = model.predict(list(zip(*PAIRS, strict=True)), convert_to_numpy=True)
    np.testing.assert_allclose(logits(oracle)[:, 0], theirs, atol=1e-5, rtol=0)
    alone = [logits(each, passages=()) for each in (oracle, load_score_oracle(checkpoint, "numpy"))]
    np.testing.assert_allclose(*alone, atol=1e-5, rtol=0)


def test_the_oracle_finds_a_length_that_was_misread(saved):
    checkpoint = load_checkpoint(str(saved), max_length=32)
    assert not np.allclose(
        logits(load_score_oracle(checkpoint)), logits(load_score_oracle(checkpoint, "numpy"))
    )
    asked = load_score_oracle(checkpoint, max_length=32)
    np.testing.assert_allclose(
        logits(asked), logits(load_score_oracle(checkpoint, "numpy")), atol=1e-5, rtol=0
    )


def test_transformers_is_the_oracle_of_weights_with_another_prefix(tmp_path, caplog):
    folder = make_classifier(tmp_path / "model", "roberta", 2, prefix="student.")
    checkpoint = load_checkpoint(str(folder))
    with caplog.at_level(logging.WARNING):
        oracle = load_score_oracle(checkpoint)
    assert oracle.name.startswith("torch ")
    assert "does not find these weights" in caplog.text
    for passages in (PAIRS[1], ()):
        found = [logits(each, passages=passages) for each in (oracle, load_score_oracle(checkpoint, "numpy"))]
        np.testing.assert_allclose(*found, atol=1e-5, rtol=0)


def test_transformers_is_the_oracle_of_a_chinese_albert(tmp_path):
    """AutoTokenizer makes it a tokenizer without a vocabulary; BERT's gives token types."""
    folder = make_classifier(tmp_path / "model", "albert", 1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    write_wordpiece(tmp_path / "wordpiece", "vocab.txt")
    shutil.copy(tmp_path / "wordpiece" / "vocab.txt", folder)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.classification.token_types
    oracle = load_score_oracle(checkpoint)
    assert oracle.name.startswith("torch ")
    found = [logits(each) for each in (oracle, load_score_oracle(checkpoint, "numpy"))]
    np.testing.assert_allclose(*found, atol=1e-5, rtol=0)
