"""Texts that say ``<pad>``: RoBERTa and its kind do not count such a token in the positions of the others."""

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from families import make_family
from m3e_export import BelowGateError, ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import TensorRtPackedDialect
from m3e_export.oracle import load_oracle
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_export.texts import built_in
from m3e_runtime import Encoder
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.gpu.batch_shapes import PackedLayout

SKIPPING = ("roberta", "xlm-roberta", "camembert", "mpnet")
COUNTING = ("bert", "distilbert", "ernie", "albert")
PLACES = (
    *("the weather <pad> is good today", "<pad>", "<pad> <pad> hello <pad>", "ab<pad>cd<pad><pad>ef"),
    *("hello world<pad>", "<pad>今天天气很好", "word " * 40 + "<pad> " + "text " * 400),
)
LOOK_ALIKES = ("a <s> b", "</s> c", "<mask> d <unk>", "[PAD] e", "f [CLS] g [SEP]", "[MASK]", "<S> <Pad>")
PADDED = [text.replace("<pad>", "[PAD]") for text in PLACES]
TEXTS = [*PLACES, *LOOK_ALIKES, *PADDED, "no such token at all", ""]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints of families by name, made when first asked for. Read only."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = make_family(tmp_path_factory.mktemp("families") / family, family)
        return made[family]

    return get


@pytest.fixture(scope="module")
def expected(checkpoints, sentence_transformer):
    """What sentence-transformers makes of the folder, from the texts on, one text at a time."""
    made = {}

    def get(family):
        if family not in made:
            model = sentence_transformer(checkpoints(family))
            model.max_seq_length = load_checkpoint(str(checkpoints(family))).max_length
            made[family] = np.stack([model.encode(text) for text in TEXTS])
        return made[family]

    return get


def token_ids_of(checkpoint):
    return checkpoint.text_tokenizer().encode_batch(TEXTS)


@pytest.mark.parametrize("family", [*SKIPPING, *COUNTING])
def test_vectors_are_those_of_sentence_transformers(family, checkpoints, expected, few_texts, tmp_path):
    targets = ("native", "cpu", "portable")
    request = ExportRequest(
        str(checkpoints(family)), tmp_path / "bundle", targets=targets, gate=str(few_texts)
    )
    for artifact in export(request).manifest.artifacts:
        encoder = Encoder.load(request.output, artifact=artifact.name)
        np.testing.assert_allclose(encoder.encode(TEXTS), expected(family), atol=1e-5, rtol=0)
        alone = np.stack([encoder.encode(text) for text in TEXTS])
        np.testing.assert_allclose(alone, expected(family), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", [*SKIPPING, *COUNTING])
def test_the_numpy_oracle_counts_alike(family, checkpoints, expected):
    oracle = load_oracle(load_checkpoint(str(checkpoints(family))), "numpy")
    found = oracle.encode(TEXTS, lambda done: None)
    np.testing.assert_allclose(found, expected(family), atol=1e-5, rtol=0)


@pytest.mark.parametrize("target", ["cuda", "cuda-packed", "tensorrt"])
@pytest.mark.parametrize("family", SKIPPING)
def test_graphs_for_a_gpu_count_alike(family, target, checkpoints, expected, tmp_path):
    checkpoint = load_checkpoint(str(checkpoints(family)))
    path = TARGETS[target].save_twin(checkpoint, float_plan("fp32"), tmp_path / "twin.onnx")[0]
    found = TARGETS[target].load(path, 2).run(token_ids_of(checkpoint))
    np.testing.assert_allclose(found, expected(family), atol=1e-5, rtol=0)


def test_texts_packed_for_tensorrt_count_alike(checkpoints, expected, tmp_path):
    checkpoint, twin = load_checkpoint(str(checkpoints("roberta"))), TensorRtPackedDialect.twin
    model = build_model(
        checkpoint.spec, checkpoint.weights, float_plan("fp32"), twin, GraphOptions("mean", False)
    )
    path = save_model(model, tmp_path / "twin.onnx")[0]
    found = OnnxRuntimeCpu(path, 2, layout=PackedLayout(max_length=1)).run(token_ids_of(checkpoint))
    np.testing.assert_allclose(found, expected("roberta"), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pad", [0, 5])
def test_padding_is_the_id_that_the_model_takes_for_it(pad, tmp_path, sentence_transformer, exported):
    """Whatever the tokenizer calls so: transformers looks at the config's id alone."""
    folder = make_family(tmp_path / "model", "roberta", config={"pad_token_id": pad})
    model, checkpoint = sentence_transformer(folder), load_checkpoint(str(folder))
    model.max_seq_length = checkpoint.max_length
    word = checkpoint.text_tokenizer().tokenizer.decode([5], skip_special_tokens=False)
    texts = [f"{word}{word} the {word} weather", "today <pad> hello", "nothing here"]
    assert any(5 in ids for ids in checkpoint.text_tokenizer().encode_batch(texts))
    wanted = np.stack([model.encode(text) for text in texts])
    for artifact in ("fp32-native", "fp32-cpu"):
        found = Encoder.load(exported(folder).path, artifact=artifact).encode(texts)
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_weights_of_places_count_padding_too(family, checkpoints, tmp_path):
    """The pooling ``weightedmean`` counts what attention sees, also where texts are packed."""
    checkpoint = load_checkpoint(str(checkpoints(family)), pooling="weightedmean")
    wanted = load_oracle(checkpoint, "numpy").encode(TEXTS, lambda done: None)
    for name in ("cuda-packed", "cpu"):
        path = TARGETS[name].save_twin(checkpoint, float_plan("fp32"), tmp_path / f"{name}.onnx")[0]
        found = TARGETS[name].load(path, 2).run(token_ids_of(checkpoint))
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def test_families_that_count_every_token_have_no_operator_more(checkpoints, tmp_path):
    checkpoint = load_checkpoint(str(checkpoints("bert")))
    for name in ("cpu", "portable", "cuda", "cuda-packed", "tensorrt"):
        path = TARGETS[name].save(checkpoint, float_plan("fp32"), tmp_path / f"{name}.onnx")[0]
        assert "CumSum" not in {node.op_type for node in ir.load(path).graph}


def test_the_gates_own_texts_say_special_tokens():
    """Else a model that takes them for something else would pass."""
    texts = built_in("gate")
    assert len(texts) == len(set(texts)) == 256
    for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"):
        assert any(token in text for text in texts), token


def count_every_token(checkpoint):
    """The model as if it were BERT: the rows of the first token and on, one for each place."""
    spec = dataclasses.replace(checkpoint.spec, skips_padding=False)
    rows = checkpoint.weights.position_embeddings[1:]
    weights = dataclasses.replace(checkpoint.weights, position_embeddings=rows)
    return dataclasses.replace(checkpoint, spec=spec, weights=weights)


@pytest.mark.parametrize("family", SKIPPING)
def test_the_gate_refuses_a_model_that_counts_every_token(family, checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "m3e_export.own.export.load_checkpoint", lambda *a, **k: count_every_token(load_checkpoint(*a, **k))
    )
    request = ExportRequest(str(checkpoints(family)), tmp_path / "bundle", targets=("cpu",), max_length=128)
    with pytest.raises(BelowGateError, match="min_cosine"):
        export(request)
