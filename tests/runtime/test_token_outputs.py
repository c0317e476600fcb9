"""Dense vectors, sparse vectors and multi-vectors in one pass, as the authors of bge-m3 define them."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import numpy as np
import pytest

from bge_m3 import SIZE, authors_outputs, make_bge_m3
from m3e_export import ExportRequest, export
from m3e_runtime import BundleError, Encoder, OptionError, cli
from m3e_runtime.errors import TextTooLongError
from m3e_runtime.hybrid import hybrid_score, hybrid_scores, max_sim, sparse_dot
from m3e_runtime.token_check import check_token_outputs

TEXTS = [
    *("hello hello world", "", "今天天气很好，今天很好", "x"),
    *(f"word {n} " * n for n in range(1, 60, 7)),
    "long " * 600,
]
NATIVE = ["fp32-native", "fp16-native", "int8-native"]


@pytest.fixture(scope="module")
def encoder(bge_m3_bundle):
    return Encoder.load(bge_m3_bundle, artifact="fp32-native", threads=2)


@pytest.fixture(scope="module")
def onnx_bundle(bge_m3_checkpoint, few_texts, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    output = tmp_path_factory.mktemp("onnx") / "bundle"
    return export(ExportRequest(str(bge_m3_checkpoint), output, targets=("cpu",), gate=str(few_texts))).path


def as_bytes(outputs):
    sparse = [(each.indices.tobytes(), each.values.tobytes()) for each in outputs.sparse]
    return outputs.dense.tobytes(), sparse, [each.tobytes() for each in outputs.multi_vector]


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_fp32_equals_the_authors_formulas_in_pytorch(request, encoder, engine, bge_m3_checkpoint):
    if engine == "onnxruntime":
        encoder = Encoder.load(request.getfixturevalue("onnx_bundle"), threads=2)
    found = encoder.encode_outputs(TEXTS)
    for text, each in zip(TEXTS, found, strict=True):
        dense, lexical, vectors = authors_outputs(bge_m3_checkpoint, text)
        np.testing.assert_allclose(each.dense, dense, atol=1e-4)
        np.testing.assert_allclose(each.multi_vector, vectors, atol=1e-4)
        assert each.sparse.as_dict() == pytest.approx(lexical, abs=1e-4)
    assert any(each.indices.size for each in found.sparse)
    assert found.multi_vector[0].shape[1] == SIZE


def test_a_text_of_8192_tokens_has_outputs_of_all(few_texts, tmp_path):
    checkpoint = make_bge_m3(tmp_path / "checkpoint", max_position_embeddings=8194, num_hidden_layers=1)
    request = ExportRequest(
        str(checkpoint), tmp_path / "bundle", targets=("native",), gate=str(few_texts), max_length=8192
    )
    text = "long " * 9000
    found = Encoder.load(export(request).path).encode_outputs(text)
    dense, lexical, vectors = authors_outputs(checkpoint, text, 8192)
    assert vectors.shape == (8191, SIZE)
    np.testing.assert_allclose(found.dense, dense, atol=1e-4)
    np.testing.assert_allclose(found.multi_vector, vectors, atol=1e-4)
    assert found.sparse.as_dict() == pytest.approx(lexical, abs=1e-4)


@pytest.mark.parametrize("artifact", NATIVE)
def test_a_text_gives_the_same_bytes_in_any_batch_and_with_any_threads(bge_m3_bundle, artifact):
    alone = Encoder.load(bge_m3_bundle, artifact=artifact, threads=1).encode_outputs(TEXTS, batch_size=1)
    for threads in (1, 2, 3):
        encoder = Encoder.load(bge_m3_bundle, artifact=artifact, threads=threads)
        for batch_size in (None, 3):
            assert as_bytes(encoder.encode_outputs(TEXTS, batch_size=batch_size)) == as_bytes(alone)
        assert encoder.encode(TEXTS).tobytes() == alone.dense.tobytes()


def test_only_what_is_asked_for_is_given(encoder):
    everything = encoder.encode_outputs(TEXTS)
    for outputs in (["dense"], ["sparse"], ["multi_vector"], ["multi_vector", "sparse"]):
        found = encoder.encode_outputs(TEXTS, outputs)
        assert len(found) == len(TEXTS)
        for name in ("dense", "sparse", "multi_vector"):
            assert (getattr(found, name) is not None) == (name in outputs)
        if "sparse" in outputs:
            assert [each.as_dict() for each in found.sparse] == [each.as_dict() for each in everything.sparse]
    with pytest.raises(OptionError, match="give some of dense, sparse, multi_vector"):
        encoder.encode_outputs(TEXTS, ["lexical"])
    with pytest.raises(OptionError, match="give some of"):
        encoder.encode_outputs(TEXTS, [])


def test_one_text_and_prompts_and_dimensions_are_those_of_encode(encoder):
    one = encoder.encode_outputs("hello", prompt="query: ", truncate_dim=8, normalize_embeddings=True)
    expected = encoder.encode("hello", prompt="query: ", truncate_dim=8, normalize_embeddings=True)
    assert one.dense.tobytes() == expected.tobytes()
    several = encoder.encode_outputs(["query: hello"])
    assert one.sparse.as_dict() == several.sparse[0].as_dict()


def test_texts_that_are_cut_are_counted_or_refused(bge_m3_bundle):
    encoder = Encoder.load(bge_m3_bundle)
    encoder.encode_outputs(TEXTS)
    assert encoder.info["truncated"] == encoder.find_truncated(TEXTS).sum() > 0
    with pytest.raises(TextTooLongError):
        encoder.encode_outputs(TEXTS, truncation="error")
    with pytest.raises(OptionError, match="truncation='chunk'"):
        encoder.encode_outputs(TEXTS, truncation="chunk")


def test_an_artifact_or_a_model_that_lacks_an_output_is_refused(onnx_bundle, tiny_bundle, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(onnx_bundle, copy)
    (copy / "onnx" / "token_heads.npz").unlink()
    other = Encoder.load(copy, verify=False)
    with pytest.raises(OptionError, match=r"load one with artifact= .*fp32-cpu"):
        other.encode_outputs(TEXTS)
    with pytest.raises(OptionError, match="gives no sparse output; it gives: dense"):
        Encoder.load(tiny_bundle).encode_outputs(TEXTS, ["dense", "sparse"])
    assert other.info["outputs"] == ["dense"]


def test_the_hybrid_score_is_the_weighted_mean_of_the_authors_three_scores(encoder, bge_m3_checkpoint):
    texts = "hello world", "the world says hello hello"
    found = encoder.encode_outputs(texts)
    q, p = (authors_outputs(bge_m3_checkpoint, text) for text in texts)
    dense, sparse = q[0] @ p[0], sum(weight * p[1].get(token, 0) for token, weight in q[1].items())
    colbert = (q[2] @ p[2].T).max(axis=1).mean()
    assert hybrid_score(found[0], found[1]) == pytest.approx((dense + sparse + colbert) / 3, abs=1e-4)
    weighted = 0.4 * dense + 0.2 * sparse + 0.4 * colbert
    assert hybrid_score(found[0], found[1], (0.4, 0.2, 0.4)) == pytest.approx(weighted, abs=1e-4)
    assert sparse_dot(found.sparse[0], found.sparse[1]) == pytest.approx(sparse, abs=1e-4)
    scores = hybrid_scores(found, found)
    assert scores.shape == (2, 2)
    assert scores[0, 1] == pytest.approx((dense + sparse + colbert) / 3, abs=1e-4)
    only_dense = encoder.encode_outputs(texts[0], ["dense"])
    assert hybrid_score(only_dense, found[1], (1, 0, 0)) == pytest.approx(dense, abs=1e-4)


def test_a_score_without_its_output_or_with_odd_weights_is_refused(encoder):
    dense = encoder.encode_outputs("hello", ["dense"])
    with pytest.raises(OptionError, match="the sparse output is missing"):
        hybrid_score(dense, dense)
    for weights in ((1, 2), (0, 0, 0), (-1, 1, 1), (float("nan"), 1, 1)):
        with pytest.raises(OptionError, match="three numbers"):
            hybrid_score(dense, dense, weights)
    with pytest.raises(OptionError, match="multi-vectors of shapes"):
        max_sim(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def test_the_check_compares_them_with_the_golden_ones(bge_m3_bundle, capsys):
    assert cli.main([str(bge_m3_bundle), "--json"]) == 0
    results = {each["name"]: each for each in json.loads(capsys.readouterr().out)["artifacts"]}
    assert len(results) == 3
    for found in results.values():
        assert found["token_outputs"]["passed"]
        assert found["token_outputs"]["sparse_min_cosine"] > 0.99


def test_the_check_finds_other_layers(onnx_bundle, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(onnx_bundle, copy)
    heads = copy / "onnx" / "token_heads.npz"
    with np.load(heads) as arrays:
        changed = {**arrays, "sparse": -arrays["sparse"]}
    np.savez(heads, **changed)
    with closing(Encoder.load(copy, verify=False)) as encoder:
        found = check_token_outputs(encoder)
    assert not found["passed"]
    assert found["sparse_min_cosine"] < found["sparse_floor"]
    np.savez(heads, unit_length=True, sparse=np.zeros(3, np.float32))
    with pytest.raises(BundleError, match="cannot be read"):
        Encoder.load(copy, verify=False)
