"""Scores through the C interface: bit for bit what Reranker gives for the same artifact."""

import ctypes
import json
import random
import shutil

import numpy as np
import pytest

import c_bundles
from c_bundles import ARGUMENT, FORMAT, INTEGRITY, STOP, STOPPED, CBundleError, CModel
from classifier_weights import make_classifier_bundle, write_classifier
from hostile_manifests import put
from m3e_runtime import Bundle, BundleError, Reranker
from m3e_runtime.backends import native
from strange_texts import generated
from synthetic import read_json, write_json

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module")
def bundles(tiny_bundle, tmp_path_factory):
    """By number of labels."""
    folder = tmp_path_factory.mktemp("classifiers")
    return {labels: make_classifier_bundle(tiny_bundle, folder / str(labels), labels) for labels in (1, 3)}


@pytest.fixture(scope="module")
def pairs():
    texts, chance = ["", "a\0b", *generated(60), "word " * 700], random.Random(4)
    return [(chance.choice(texts[:8]), chance.choice(texts)) for _ in range(150)]


def split(pairs):
    return [first for first, _ in pairs], [second for _, second in pairs]


@pytest.mark.parametrize("artifact", ["fp32-native", "int8-native"])
@pytest.mark.parametrize("labels", [1, 3])
def test_scores_are_those_of_python(bundles, pairs, labels, artifact):
    python, c = Reranker.load(bundles[labels], artifact=artifact), CModel(bundles[labels], artifact, 2)
    scores, cut = c.score(*split(pairs))
    assert c.labels == list(python.labels)
    np.testing.assert_array_equal(scores.reshape(python.predict(pairs).shape), python.predict(pairs))
    np.testing.assert_array_equal(cut > 0, python.tokenize(pairs).cut)
    np.testing.assert_array_equal(c.score(*split(pairs), "identity")[0], python.logits(pairs))
    for name in ("identity", "sigmoid"):
        found = c.score(*split(pairs), name, softmax=True)[0]
        expected = python.predict(pairs, activation_fn=name, apply_softmax=True)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_a_pair_gives_the_same_bytes_in_any_batch(bundles, pairs):
    together = CModel(bundles[3], threads=3).score(*split(pairs))
    alone = CModel(bundles[3], threads=1)
    for place, (first, second) in enumerate(pairs[:40]):
        scores, cut = alone.score([first], [second])
        np.testing.assert_array_equal(scores[0], together[0][place])
        assert cut[0] == together[1][place]


def test_single_texts(bundles, pairs):
    texts, python = split(pairs)[1], Reranker.load(bundles[3], artifact="int8-native")
    np.testing.assert_array_equal(
        CModel(bundles[3]).score(texts, None)[0], python.predict([[t] for t in texts])
    )


def test_more_pairs_than_a_window(bundles):
    pairs = [(f"query {number // 100}", f"passage {number}") for number in range(4200)]
    python = Reranker.load(bundles[1], artifact="int8-native")
    scores, cut = CModel(bundles[1], threads=2).score(*split(pairs))
    np.testing.assert_array_equal(scores[:, 0], python.predict(pairs))
    assert not cut.any()


def test_prompts_are_those_of_python(bundles, pairs, tmp_path):
    bundle = shutil.copytree(bundles[1], tmp_path / "prompted")
    manifest = read_json(bundle / "manifest.json")
    manifest |= {"prompts": {"web": "search: ", "none": ""}, "default_prompt_name": "web"}
    write_json(bundle / "manifest.json", manifest)
    c, python = CModel(bundle), Reranker.load(bundle, artifact="int8-native")
    for options in ({}, {"prompt": "请 "}, {"prompt": ""}, {"prompt_name": "none"}):
        np.testing.assert_array_equal(
            c.score(*split(pairs), **options)[0][:, 0], python.predict(pairs, **options)
        )
    with pytest.raises(CBundleError, match=r"prompt_name 'query' is not in the bundle; it has: none, web"):
        c.score(["a"], ["b"], prompt_name="query")


def refused(call, match, code=ARGUMENT):
    with pytest.raises(CBundleError, match=match) as caught:
        call()
    assert caught.value.code == code


def test_each_kind_of_bundle_has_its_function(bundles, tiny_bundle):
    scores, vectors = CModel(bundles[1]), CModel(tiny_bundle)
    assert vectors.labels == []
    assert scores.functions.m3e_model_label(scores.handle, 1) is None
    assert scores.functions.m3e_model_label(scores.handle, -1) is None
    assert scores.functions.m3e_vector_size(scores.handle, None) == 0
    for texts in ([], ["a"]):
        refused(lambda texts=texts: scores.encode(texts), "gives scores .* use m3e_score")
        refused(lambda texts=texts: vectors.score(texts, texts), "gives vectors .* use m3e_embed")


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        (("a", b"\xff"), "pair 2: the second text is not valid UTF-8"),
        ((b"\xff", "a"), "pair 2: the first text"),
    ],
)
def test_text_that_is_not_utf8_is_named(bundles, pair, named):
    refused(lambda: CModel(bundles[1]).score(*split([("a", "b"), ("a", "c"), pair])), named)


def test_what_cannot_be_asked_for_is_refused(bundles):
    c = CModel(bundles[1])
    call = c.functions.m3e_score
    texts, lengths = (ctypes.c_char_p * 1)(b"a"), (ctypes.c_size_t * 1)(1)
    scores = np.zeros(1, np.float32).ctypes.data
    for arguments in (
        (None, texts, lengths, texts, lengths, 1, None, scores, None),
        (c.handle, None, lengths, texts, lengths, 1, None, scores, None),
        (c.handle, texts, None, texts, lengths, 1, None, scores, None),
        (c.handle, texts, lengths, texts, None, 1, None, scores, None),
        (c.handle, texts, lengths, texts, lengths, 1, None, None, None),
    ):
        refused(lambda arguments=arguments: c_bundles.checked(call, *arguments), "is NULL")
    unknown = c_bundles.Scoring(ctypes.sizeof(c_bundles.Scoring), activation=7)
    given = c.handle, texts, lengths, texts, lengths, 1
    refused(lambda: c_bundles.checked(call, *given, ctypes.byref(unknown), scores, None), "activation 7")
    unknown.size = 4
    refused(lambda: c_bundles.checked(call, *given, ctypes.byref(unknown), scores, None), "m3e_scoring.size")


def test_a_call_can_be_stopped(bundles):
    pairs = [("query", "passage " * 200)] * 3000
    refused(lambda: CModel(bundles[1]).score(*split(pairs), stop=STOP(lambda _: 1)), "stopped", STOPPED)


@pytest.mark.parametrize("artifact", ["fp32-native", "int8-native"])
def test_golden_logits_are_checked(bundles, artifact, tmp_path):
    assert CModel(bundles[3], artifact).least_golden_cosine() < 0.06
    bundle = shutil.copytree(bundles[3], tmp_path / "other")
    manifest = read_json(bundle / "manifest.json")
    manifest["golden"]["passages"][0] = "something else"
    write_json(bundle / "manifest.json", manifest)
    refused(CModel(bundle, artifact).least_golden_cosine, "a golden score differs by .* the most", INTEGRITY)


CHANGES = {
    "labels missing": lambda manifest: manifest["classification"].pop("labels"),
    "more labels than logits": put("classification", "labels", ["a", "b"]),
    "a label that is a number": put("classification", "labels", [1]),
    "an unknown activation": put("classification", "activation", "relu"),
    "token types a word": put("classification", "token_types", "yes"),
    "an unknown field": put("classification", "problem_type", "regression"),
    "no fidelity of scores": put("artifacts", 0, "score_fidelity", None),
    "fidelity without a number": lambda manifest: manifest["artifacts"][0]["score_fidelity"].pop(
        "order_kept"
    ),
    "an unknown threshold": put("artifacts", 0, "score_fidelity", "thresholds", {"mean_cosine": 0.5}),
    "a threshold that is a word": put("artifacts", 0, "score_fidelity", "thresholds", {"order_kept": "all"}),
    "too few golden passages": lambda manifest: manifest["golden"]["passages"].pop(),
    "golden passages of numbers": put("golden", "passages", [1, 2, 3, 4]),
    "no classification": put("classification", None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_python_refuses_is_refused(bundles, tmp_path, change):
    bundle = shutil.copytree(bundles[1], tmp_path / "bundle")
    manifest = read_json(bundle / "manifest.json")
    change(manifest)
    write_json(bundle / "manifest.json", manifest)
    with pytest.raises(BundleError):
        Bundle.open(bundle)
    refused(lambda: CModel(bundle), r"manifest\.json", FORMAT)


def test_bounds_of_scores_are_read(bundles, tmp_path):
    bundle = shutil.copytree(bundles[1], tmp_path / "bundle")
    manifest = read_json(bundle / "manifest.json")
    thresholds = {"max_difference": None, "order_kept": 0.9, "ndcg_at_10": 0.99}
    for index, bound in enumerate((0.1, None)):
        measured = manifest["artifacts"][index]["score_fidelity"]
        manifest["artifacts"][index]["score_fidelity"] = measured | {
            "thresholds": thresholds | {"max_difference": bound}
        }
    write_json(bundle / "manifest.json", manifest)
    assert CModel(bundle).labels == ["label 0"]


def test_weights_without_the_types_that_the_manifest_says_are_refused(bundles, tiny_bundle, tmp_path):
    bundle = shutil.copytree(bundles[1], tmp_path / "bundle")
    layer = np.ones((64, 1), np.float32), np.zeros(1, np.float32), "identity"
    weights = "native/model_fp32_native.safetensors"
    write_classifier(tiny_bundle / weights, bundle / weights, [layer])
    refused(lambda: CModel(bundle, "fp32-native", verify=False), "has no token types", FORMAT)


def test_a_bundle_is_described(bundles, tiny_bundle):
    described = json.loads(c_bundles.info(bundles[3]))
    assert described["labels"] == ["label 0", "label 1", "label 2"]
    assert described["activation"] == "identity"
    assert described["artifacts"][0]["fidelity"] is None
    assert described["artifacts"][0]["score_fidelity"]["max_difference"] == 0.05
    described = json.loads(c_bundles.info(tiny_bundle))
    assert (described["labels"], described["activation"]) == (None, None)
    assert described["artifacts"][0]["score_fidelity"] is None
