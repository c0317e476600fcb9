"""m3e-export of rerankers and classifiers from end to end: judged, searched, described and checked."""

import json
import shutil

import msgspec
import numpy as np
import pytest

from m3e_export import BelowGateError, ExportRequest, export, score_gate
from m3e_export.bundle_writer import write_manifest
from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import main
from m3e_export.inputs import model_inputs
from m3e_export.precision.half import overflowing
from m3e_runtime import Bundle, Reranker
from m3e_runtime.cli import main as check
from m3e_runtime.manifest import GoldenVectors, ScoreThresholds
from scoring_bundles import make_classifier

GROUPS = [
    {"query": f"how is the weather in {place}", "passages": [f"{place} has {word} days" for word in words]}
    for place, words in (
        ("water", ("good", "long", "many", "no", "two")),
        ("天气", ("好", "hello", "different", "short")),
        ("the world of words", ("payment", "account", "card", "number", "nothing", "first", "")),
        ("x " * 300, ("these", "are", "very " * 400, "long", "words")),
    )
]


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """A gate file of queries with passages, short and too long ones."""
    file = tmp_path_factory.mktemp("gate") / "groups.jsonl"
    file.write_text("\n".join(json.dumps(group) for group in GROUPS), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    """A tiny reranker with token types."""
    return make_classifier(tmp_path_factory.mktemp("reranker") / "tiny-reranker")


@pytest.fixture(scope="module")
def exported(reranker, groups, tmp_path_factory):
    """The reranker in every precision, and the page about it. Random weights need not pass int8's gate."""
    folder = tmp_path_factory.mktemp("exported")
    page = folder / "report.html"
    arguments = [str(reranker), "-o", str(folder / "bundle"), "--precision", "fp32", "fp16", "int8"]
    targets = ["--target", "native", "cpu", "portable", "--calibration", str(groups)]
    assert main([*arguments, *targets, "--gate", str(groups), "--report", str(page), "--json"]) == 0
    return Bundle.open(folder / "bundle"), page


@pytest.fixture(scope="module")
def original(reranker):
    """CrossEncoder's logits of the pairs of GROUPS."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(reranker), device="cpu", activation_fn=torch.nn.Identity())
    pairs = [(group["query"], passage) for group in GROUPS for passage in group["passages"]]
    return pairs, np.array([model.predict([pair])[0] for pair in pairs])[:, None]


def test_every_artifact_scores_as_crossencoder(exported, original):
    bundle, _ = exported
    pairs, expected = original
    assert len(bundle.manifest.artifacts) == 9
    for artifact in bundle.manifest.artifacts:
        found = Reranker.load(bundle.path, artifact=artifact.name).logits(pairs)
        largest = np.abs(found - expected).max()
        assert largest <= {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.1}[artifact.precision], artifact.name
        # The manifest has what the gate measured, on the same pairs.
        assert artifact.score_fidelity.max_difference == pytest.approx(largest, rel=0.05, abs=1e-5)


def test_the_manifest_describes_scores(exported):
    manifest = exported[0].manifest
    assert manifest.classification.labels == ("LABEL_0",)
    assert manifest.classification.token_types
    assert len(manifest.golden.passages) == len(manifest.golden.texts) == 16
    for artifact in manifest.artifacts:
        fidelity = artifact.score_fidelity
        assert artifact.fidelity is None
        assert (fidelity.groups, fidelity.pairs, fidelity.enforced) == (4, 21, True)
        assert fidelity.oracle.startswith("sentence-transformers")


def test_companions_are_those_that_other_tools_read_rightly(exported, reranker):
    from transformers import AutoConfig, AutoTokenizer

    bundle, _ = exported
    assert {entry.path for entry in bundle.manifest.files} == {"config.json", "tokenizer_config.json"}
    assert AutoConfig.from_pretrained(bundle.path).id2label == {0: "LABEL_0"}
    pair = ("how is the weather", "今天天气很好")
    ours, theirs = (dict(AutoTokenizer.from_pretrained(folder)(*pair)) for folder in (bundle.path, reranker))
    assert ours == theirs
    assert max(ours["token_type_ids"]) == 1


def test_check_compares_golden_scores(exported, capsys):
    bundle, _ = exported
    assert check([str(bundle.path), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["artifacts"]
    assert [result["texts"] for result in results] == [16] * 9
    assert check([str(bundle.path), "--artifact", "int8-native"]) == 0
    assert "int8-native: ok, 16 golden scores, difference mean" in capsys.readouterr().out


def test_check_finds_scores_that_have_changed(exported, tmp_path, capsys):
    folder = shutil.copytree(exported[0].path, tmp_path / "bundle")
    manifest = exported[0].manifest
    golden = manifest.golden
    moved = golden.unpack(1) + np.float32(1e-3)
    packed = GoldenVectors.pack(golden.texts, moved, golden.prompt, golden.passages)
    write_manifest(folder, msgspec.structs.replace(manifest, golden=packed))
    assert check([str(folder), "--artifact", "fp32-native"]) == 3
    assert "BELOW ITS GATE" in capsys.readouterr().out


def test_the_report_shows_the_queries_whose_order_changed(exported):
    bundle, page = exported
    text = page.read_text(encoding="utf-8")
    assert "queries whose passages changed their order most" in text
    for artifact in bundle.manifest.artifacts:
        assert f"{artifact.score_fidelity.max_difference:.1e}" in text
    assert "how is the weather in water" in text
    assert "Not run here" not in text


def test_a_reranker_below_the_gate_is_not_written(reranker, groups, tmp_path, monkeypatch):
    monkeypatch.setitem(score_gate.DEFAULT_SCORE_THRESHOLDS, "fp16", ScoreThresholds(max_difference=0))
    request = ExportRequest(
        str(reranker), tmp_path / "bundle", ("fp16",), ("cpu",), gate=str(groups), oracle="numpy"
    )
    with pytest.raises(BelowGateError, match="max_difference"):
        export(request)
    assert not (tmp_path / "bundle").exists()


def test_numpy_is_an_oracle_of_scores_too(reranker, groups, tmp_path, capsys):
    arguments = [str(reranker), "-o", str(tmp_path / "bundle"), "--gate", str(groups), "--oracle", "numpy"]
    assert main([*arguments, "--target", "native"]) == 0
    printed = capsys.readouterr().out
    assert "one label, judged against numpy float32 on 21 pairs of 4 queries" in printed
    assert "nDCG@10" in printed


def test_a_classifier_of_several_labels_is_judged_on_texts(few_texts, tmp_path):
    checkpoint = make_classifier(tmp_path / "classifier", labels=3)
    request = ExportRequest(
        str(checkpoint),
        tmp_path / "bundle",
        ("fp32",),
        ("native", "cpu"),
        gate=str(few_texts),
        oracle="torch",
    )
    manifest = export(request).manifest
    assert (manifest.dimension, manifest.golden.passages) == (3, ())
    for artifact in manifest.artifacts:
        assert artifact.score_fidelity.order_kept == 1
        assert artifact.score_fidelity.max_difference <= 1e-4
    assert check([str(tmp_path / "bundle")]) == 0


def test_half_precision_is_searched_on_pairs(reranker):
    """Token types are part of the sum that may overflow."""
    checkpoint = load_checkpoint(str(reranker))
    inputs = model_inputs(checkpoint, ["the weather"], ["today"])
    assert not overflowing(checkpoint, inputs, lambda _: None)
    checkpoint.weights.token_type_embeddings[:] = 40_000
    assert "word_embeddings" in overflowing(checkpoint, inputs, lambda _: None)
