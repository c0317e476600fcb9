"""Late-interaction folders of sentence-transformers and PyLate: the multi-vectors are the original's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from colbert import FIXED, make_colbert, make_pylate, original_multi_vectors
from m3e_export import BelowGateError, CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import main as export_main
from m3e_export.own import vectors
from m3e_runtime import Encoder, OptionError
from m3e_runtime.cli import main as check_main
from synthetic import read_json, update_json, write_json

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers.multi_vector_encoder")

TEXTS = [
    *("hello, world! How are you?", "", "今天天气很好，我们去公园。", "[MASK] . , !", "x"),
    *("[unused1] hello [MASK]", "long words about the weather, and water. " * 12),
]
TASKS = ("query", "document", None)

FOLDERS = {
    "fixed": lambda folder: make_colbert(
        folder, query_expansion=FIXED, document_length=40, prompts={"query": "query: ", "document": "text: "}
    ),
    "min, attended, two layers": lambda folder: make_colbert(
        folder,
        sizes=(32, 48),
        query_length=30,
        query_expansion={"strategy": "min", "attend": True, "length": 20, "token": "[unused5]"},
        mask={"skiplist_words": ["hello", "。"], "skiplist_tasks": ["query", "document"]},
    ),
    "min, not attended, relative positions": lambda folder: make_colbert(
        folder, "mpnet", query_expansion={"strategy": "min", "attend": False, "length": 20}
    ),
    "fixed, positions of RoBERTa": lambda folder: make_colbert(
        folder, "xlm-roberta", sizes=(), query_expansion={**FIXED, "length": 24}, mask={}
    ),
    "no expansion": lambda folder: make_colbert(folder, query_length=10),
    "pylate": make_pylate,
    "pylate, attended, with prompts": lambda folder: make_pylate(
        folder, attend_to_expansion_tokens=True, prompts={"query": "[unused1] query: "}, skiplist_words=None
    ),
    "pylate, added prefixes": lambda folder: make_pylate(folder, added=True),
    "pylate without expansion": lambda folder: make_pylate(folder, do_query_expansion=False),
}


def exported(folder, bundle, few_texts, **options):
    return export(ExportRequest(str(folder), bundle, gate=str(few_texts), **options))


@pytest.mark.parametrize("name", FOLDERS)
def test_fp32_equals_sentence_transformers(name, few_texts, tmp_path):
    folder = FOLDERS[name](tmp_path / "checkpoint")
    bundle = exported(folder, tmp_path / "bundle", few_texts, targets=("native",))
    encoder = Encoder.load(bundle.path, threads=2)
    for task in TASKS:
        expected = original_multi_vectors(folder, TEXTS, task)
        found = encoder.encode_outputs(TEXTS, ["multi_vector"], task=task).multi_vector
        for text, one, other in zip(TEXTS, found, expected, strict=True):
            assert one.shape == other.shape, (task, text)
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_portable_graph_equals_it_too(colbert_checkpoint, few_texts, tmp_path):
    pytest.importorskip("onnxruntime")
    bundle = exported(colbert_checkpoint, tmp_path / "bundle", few_texts, targets=("portable",))
    encoder = Encoder.load(bundle.path)
    for task in TASKS:
        expected = original_multi_vectors(colbert_checkpoint, TEXTS, task)
        found = encoder.encode_outputs(TEXTS, ["multi_vector"], task=task).multi_vector
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("attended_lengths", lambda token_ids, given: None),
        ("expanded", lambda token_ids, expansion: token_ids),
        ("finish_tokens", lambda ids, found, given, task: (None, found.vectors)),
    ],
)
def test_the_gate_finds_a_setting_that_is_misread(
    colbert_checkpoint, few_texts, tmp_path, monkeypatch, name, wrong
):
    monkeypatch.setattr(vectors, name, wrong)
    with pytest.raises(BelowGateError, match=r"multi_vector order_kept 0\.\d+ < 0\.999"):
        exported(colbert_checkpoint, tmp_path / "bundle", few_texts, targets=("native",))


@pytest.fixture
def folder(colbert_checkpoint, tmp_path):
    return shutil.copytree(colbert_checkpoint, tmp_path / "checkpoint")


def change(folder, module, **settings):
    file = next(folder.glob(f"*{module}/config.json"))
    update_json(file, **settings)


def remove(folder, module):
    entries = read_json(folder / "modules.json")
    write_json(folder / "modules.json", [each for each in entries if not each["type"].endswith(module)])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: change(f, "Dense", activation_function="torch.nn.Tanh"), "the activation tanh"),
        (lambda f: change(f, "Dense", module_input_name="sentence_embedding"), "module_input_name"),
        (lambda f: change(f, "Dense", use_residual=True), "use_residual"),
        (lambda f: change(f, "MultiVectorMask", keep_only_token_ids=[7]), "keep_only_token_ids"),
        (lambda f: remove(f, "MultiVectorMask"), "Transformer → Dense → Normalize"),
        (
            lambda f: update_json(f / "sentence_bert_config.json", query_expansion={"strategy": "other"}),
            "query_expansion",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint(str(folder))


def test_queries_beyond_a_window_are_refused(tmp_path):
    """Behind a short query, the last tokens of the expansion would see none that is attended."""
    expansion = {**FIXED, "length": 60}
    folder = make_colbert(tmp_path / "checkpoint", "modernbert", query_expansion=expansion)
    with pytest.raises(UnsupportedModelError, match="beyond the window of"):
        load_checkpoint(str(folder))
    update_json(folder / "sentence_bert_config.json", query_expansion={**expansion, "attend": True})
    load_checkpoint(str(folder))


def test_stanfords_format_is_refused_by_name(tmp_path):
    plain = make_pylate(tmp_path / "stanford")
    for name in ("modules.json", "config_sentence_transformers.json"):
        (plain / name).unlink()
    update_json(plain / "config.json", architectures=["HF_ColBERT"])
    with pytest.raises(UnsupportedModelError, match="HF_ColBERT is Stanford"):
        load_checkpoint(str(plain))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query_length": 4}, "query_length 4 is below the length 16"),
        ({"document_length": 4000}, "length 4000 of a document is not from 3 to 128"),
        ({"document_length": "long"}, "document_length 'long' is not a number"),
        ({"query_expansion": {**FIXED, "token": "absent"}}, "no token 'absent'"),
        ({"query_expansion": {**FIXED, "length": 0}}, "length 0 is not a number"),
        ({"query_expansion": {**FIXED, "attend": "yes"}}, "is not valid"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, settings, message):
    update_json(folder / "sentence_bert_config.json", **settings)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(str(folder))


def test_options_and_targets_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(OptionError, match="--pooling cls"):
        load_checkpoint(str(folder), pooling="cls")
    with pytest.raises(OptionError, match="--max-length 20"):
        load_checkpoint(str(folder), max_length=20)
    with pytest.raises(OptionError, match="--oracle numpy"):
        export(ExportRequest(str(folder), tmp_path / "b", targets=("native",), oracle="numpy"))
    with pytest.raises(UnsupportedModelError, match="which --target cuda does not give"):
        export(ExportRequest(str(folder), tmp_path / "b", targets=("native", "cuda")))
    with pytest.raises(UnsupportedModelError, match="a MultiVectorEncoder is not supported by this exporter"):
        export(ExportRequest(str(folder), tmp_path / "b", exporter="torch"))
    assert not (tmp_path / "b").exists()


def test_the_commands_show_multi_vectors_only(colbert_checkpoint, few_texts, tmp_path, capsys):
    bundle, page = tmp_path / "bundle", tmp_path / "report.html"
    options = ["--target", "native", "--gate", str(few_texts), "--report", str(page)]
    assert export_main([str(colbert_checkpoint), "-o", str(bundle), *options]) == 0
    printed = capsys.readouterr().out
    assert "multi_vector only" in printed
    assert "MaxSim order kept 1.0000" in printed
    assert "mean cos" not in printed
    report = page.read_text("utf-8")
    assert "Outputs of tokens" in report
    assert "≥ 0.999" in report
    assert "The model gives no vectors of texts" in report
    assert check_main([str(bundle)]) == 0
    assert "MaxSim difference max 0.0000" in capsys.readouterr().out
