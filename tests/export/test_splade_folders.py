"""SparseEncoder folders (SPLADE): the weights of terms are the original's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from m3e_export import BelowGateError, CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.own import artifacts
from m3e_runtime import Encoder, OptionError
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.cli import main as check_main
from splade import LONGEST_TEXT, as_version_5, make_splade, original_weights
from synthetic import read_json, rewrite_tensors, update_json, write_json

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers.sparse_encoder")
pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

TEXTS = ["hello, world!", "", "今天天气很好，我们去公园。", "long words about the weather. " * 40, "x y"]


def usable_sets() -> list[str]:
    if native.missing():
        return []
    from m3e_runtime._native import instruction_sets

    return instruction_sets().split()


def exported(folder, bundle, few_texts, **options):
    return export(ExportRequest(str(folder), bundle, gate=str(few_texts), **options))


def weights_of(encoder, texts, columns):
    rows = np.zeros((len(texts), columns), np.float32)
    for row, vector in zip(rows, encoder.encode_outputs(texts, ["sparse"]).sparse, strict=True):
        row[vector.indices] = vector.values
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_splade(tmp_path_factory.mktemp("splade") / "model")


@pytest.fixture(scope="module")
def bundle(folder, few_texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("splade") / "bundle"
    return exported(folder, path, few_texts, precisions=("fp32", "fp16", "int8"), max_length=LONGEST_TEXT)


@pytest.mark.parametrize("family", ["distilbert", "mpnet", "xlm-roberta", "bert, log1p twice, version 5"])
def test_fp32_equals_sentence_transformers(family, few_texts, tmp_path):
    name, *changed = family.split(", ")
    model = make_splade(
        tmp_path / "model", name, **({"activation_function": "log1p_relu"} if changed else {})
    )
    expected = original_weights(as_version_5(model) if changed else model, TEXTS)
    bundle = exported(model, tmp_path / "bundle", few_texts, max_length=LONGEST_TEXT)
    encoder = Encoder.load(bundle.path)
    np.testing.assert_allclose(weights_of(encoder, TEXTS, expected.shape[1]), expected, atol=1e-5)
    assert (expected > 0).any(axis=1).all()


def test_every_precision_is_near(folder, bundle):
    expected = original_weights(folder, TEXTS)
    assert [each.name for each in bundle.manifest.artifacts] == ["fp32-native", "fp16-native", "int8-native"]
    for artifact, atol in zip(bundle.manifest.artifacts, (1e-5, 1e-2, 3e-2), strict=True):
        encoder = Encoder.load(bundle.path, artifact=artifact.name)
        np.testing.assert_allclose(weights_of(encoder, TEXTS, expected.shape[1]), expected, atol=atol)
        assert artifact.token_fidelity.sparse.mean_cosine >= 0.999
        assert artifact.token_fidelity.multi_vector is None


def test_the_decoder_is_as_small_as_the_encoder(bundle):
    sizes = [sum(file.size for file in each.files) for each in bundle.manifest.artifacts]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.35 * sizes[0]


@pytest.mark.parametrize("instruction_set", usable_sets())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_have_the_same_bytes_in_any_batch(bundle, precision, instruction_set):
    file = next((bundle.path / "native").glob(f"*{precision}*"))
    alone, together = (NativeCpu(file, threads, instruction_set=instruction_set) for threads in (1, 3))
    random = np.random.default_rng(0)
    texts = [random.integers(5, 2000, size=length).astype(np.int32) for length in (3, 128, *range(1, 40))]
    _, found = together.run_outputs(texts, None, True, False)
    for text, result in zip(texts, found, strict=True):
        _, (expected,) = alone.run_outputs([text], None, True, False)
        assert result.terms.indices.tobytes() == expected.terms.indices.tobytes()
        assert result.terms.values.tobytes() == expected.terms.values.tobytes()


def test_there_is_no_vector_of_a_text(bundle):
    with pytest.raises(OptionError, match="encode_outputs"):
        Encoder.load(bundle.path).encode(["a text"])
    assert check_main([str(bundle.path)]) == 0


def test_the_gate_refuses_another_logarithm(folder, few_texts, tmp_path, monkeypatch):
    load = artifacts.artifact_tokens

    def misread(target, file, checkpoint, texts, heads, gate):
        terms = dataclasses.replace(heads.terms, logarithms=2)
        wrong = dataclasses.replace(checkpoint, token_heads=dataclasses.replace(heads, terms=terms))
        target.save(wrong, wrong_plan(), file)
        return load(target, file, checkpoint, texts, heads, gate)

    def wrong_plan():
        from m3e_export.precision.search import float_plan

        return float_plan("fp32")

    monkeypatch.setattr(artifacts, "artifact_tokens", misread)
    with pytest.raises(BelowGateError, match="sparse mean_cosine"):
        exported(folder, tmp_path / "bundle", few_texts, precisions=("fp32",))


def test_a_decoder_of_its_own(folder, tmp_path):
    model = make_splade(tmp_path / "model")
    table = load_checkpoint(str(model)).weights.word_embeddings
    rewrite_tensors(model, cls__predictions__decoder__weight=2 * table)
    update_json(model / "config.json", tie_word_embeddings=False)
    found = load_checkpoint(str(model)).token_heads.terms.decoder.weight
    np.testing.assert_array_equal(found, 2 * table.T)


@pytest.mark.parametrize("target", ["cpu", "portable", "cuda"])
def test_other_targets_are_refused_by_name(folder, few_texts, target, tmp_path):
    with pytest.raises(UnsupportedModelError, match=rf"--target {target}.*use --target native"):
        exported(folder, tmp_path / "bundle", few_texts, targets=(target,))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling_strategy": "sum"}, "pooling_strategy 'sum'"),
        ({"activation_function": "gelu"}, "activation_function 'gelu'"),
        ({"unknown": 1}, "'unknown'"),
    ],
)
def test_other_settings_are_refused_by_name(settings, message, tmp_path):
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint(str(make_splade(tmp_path / "model", **settings)))


def test_other_modules_and_a_pooling_are_refused(tmp_path):
    model = make_splade(tmp_path / "model")
    with pytest.raises(OptionError, match="SparseEncoder"):
        load_checkpoint(str(model), pooling="mean")
    write_json(model / "modules.json", read_json(model / "modules.json")[:1])
    with pytest.raises(UnsupportedModelError, match="modules Transformer of a SparseEncoder"):
        load_checkpoint(str(model))


def test_an_untrained_head_is_refused(tmp_path, monkeypatch):
    model = make_splade(tmp_path / "model")
    rewrite_tensors(model, cls__predictions__transform__dense__weight=None)
    with pytest.raises(CheckpointError, match="no trained masked language model"):
        load_checkpoint(str(model))
