"""Scores of pairs and texts, compared with transformers' model and with sentence-transformers."""

import copy
import os
import pickle

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from m3e_runtime import BundleError, ClosedError, Encoder, InvalidTextError, OptionError, Reranker
from m3e_runtime.backends import native
from m3e_runtime.errors import TextTooLongError
from scoring_bundles import random_pairs

PAIRS = random_pairs(24)
ARTIFACTS = ["fp32-native", "fp32-cpu"]


@pytest.fixture(scope="module", params=[1, 3])
def labels(request):
    return request.param


@pytest.fixture(scope="module")
def theirs(labels, classifiers):
    """The checkpoint in sentence-transformers."""
    return CrossEncoder(str(classifiers[labels]), device="cpu")


@pytest.fixture(scope="module")
def reranker(scoring_bundles):
    return Reranker.load(scoring_bundles[1])


@pytest.fixture(scope="module")
def classifier(scoring_bundles):
    return Reranker.load(scoring_bundles[3])


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_scores_are_those_of_the_original(artifact, labels, theirs, scoring_bundles):
    if artifact.endswith("native") and native.missing():
        pytest.skip(native.missing())
    ours = Reranker.load(scoring_bundles[labels], artifact=artifact)
    for options in ({}, {"apply_softmax": True}):
        found = ours.predict(PAIRS, **options)
        np.testing.assert_allclose(found, theirs.predict(PAIRS, **options), atol=2e-6)
        assert found.dtype == np.float32
    np.testing.assert_allclose(
        ours.predict(PAIRS, activation_fn="identity"),
        theirs.predict(PAIRS, activation_fn=torch.nn.Identity()),
        atol=1e-5,
    )
    alone, their_alone = ours.predict(PAIRS[5]), theirs.predict(PAIRS[5])
    assert np.shape(alone) == np.shape(their_alone)
    assert type(alone) is type(their_alone)
    np.testing.assert_allclose(ours.predict("one text"), theirs.predict("one text"), atol=2e-6)


def test_token_types_matter(reranker):
    tokens = reranker.tokenize([("today", "weather")])
    assert tokens.types[0].tolist() == [0, 0, 0, 1, 1]
    ((_, with_types),) = reranker.run(tokens.ids, None, None, tokens.types)
    ((_, without),) = reranker.run(tokens.ids)
    assert abs(with_types - without).max() > 1e-3


def test_a_pair_scores_the_same_alone_and_in_any_batch(scoring_bundles):
    if reason := native.missing():
        pytest.skip(reason)
    one, many = (Reranker.load(scoring_bundles[1], backend="native", threads=n) for n in (1, 3))
    together = one.logits(PAIRS)
    np.testing.assert_array_equal(np.stack([one.logits(pair) for pair in PAIRS]), together)
    np.testing.assert_array_equal(many.logits(PAIRS[::-1], batch_size=5)[::-1], together)
    scores = one.predict(PAIRS)
    np.testing.assert_array_equal([one.predict(pair) for pair in PAIRS], scores)


def test_ranks_as_the_original(reranker, classifiers):
    theirs = CrossEncoder(str(classifiers[1]), device="cpu")
    documents = ["今天天气很好", "a card", "", "the weather", "words " * 600]
    for options in ({}, {"top_k": 2, "return_documents": True}, {"top_k": 0}):
        found, expected = (each.rank("天气", documents, **options) for each in (reranker, theirs))
        assert [each["corpus_id"] for each in found] == [each["corpus_id"] for each in expected]
        assert [each.get("text") for each in found] == [each.get("text") for each in expected]
        for a, b in zip(found, expected, strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=2e-6)
            assert a.keys() == b.keys()
            assert type(a["score"]) is float


def test_documents_of_equal_score_keep_their_order(reranker):
    found = reranker.rank("天气", ["a card", "weather", "a card", "a card"])
    assert [each["corpus_id"] for each in found if each["corpus_id"] != 1] == [0, 2, 3]


def test_inputs_of_every_kind(reranker, classifier):
    pair = ("query", "passage")
    alone = reranker.predict(pair)
    for given in ([*pair], np.array(pair)):
        assert reranker.predict(given) == alone
    for given in ([pair], [[*pair]], (each for each in [pair]), np.array([pair])):
        np.testing.assert_array_equal(reranker.predict(given), [alone])
    assert reranker.predict([]).shape == (0,)
    assert classifier.predict([]).shape == (0, 3)
    assert reranker.logits(pair).shape == (1,)
    mixed = classifier.predict([pair, ["a text"], "a text", pair])
    np.testing.assert_allclose(mixed[0], classifier.predict(pair), atol=1e-6)
    np.testing.assert_allclose(mixed[1], classifier.predict("a text"), atol=1e-6)
    np.testing.assert_array_equal(mixed[:2], mixed[[3, 2]])


def test_activations(reranker, classifier):
    logits = reranker.predict(PAIRS, activation_fn="identity")
    np.testing.assert_array_equal(logits, reranker.logits(PAIRS)[:, 0])
    np.testing.assert_allclose(reranker.predict(PAIRS), 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert np.isfinite(reranker.predict(PAIRS, activation_fn=lambda x: x * 1e4)).all()
    np.testing.assert_array_equal(reranker.predict(PAIRS, activation_fn=np.negative), -logits)
    shares = classifier.predict(PAIRS, activation_fn="softmax")
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(shares, classifier.predict(PAIRS, apply_softmax=True))
    with pytest.raises(OptionError, match="identity, sigmoid, softmax"):
        reranker.predict(PAIRS, activation_fn="relu")
    with pytest.raises(OptionError, match="shape"):
        reranker.predict(PAIRS, activation_fn=lambda logits: logits[:, 0])


def test_what_is_no_pair_is_told(reranker, classifier):
    for wrong, match in (
        ([("a", "b"), ("c", 5)], "pair 1 holds int"),
        ([("a", "b"), ("c", "d", "e")], "pair 1 has 3 texts"),
        (["a", "b", "c"], "the pair has 3 texts"),
        ([("a", "b"), None], "pair 1 is NoneType"),
        ({"query": "a"}, "dict given"),
        ([("a", "b")] * 3 + [("c", "\ud800")], "pair 3 holds a lone surrogate"),
        (5, "int given"),
        (np.array("a"), "ndarray given"),
        (np.array([[["a", "b"]]]), "pair 0 holds ndarray"),
    ):
        with pytest.raises(InvalidTextError, match=match):
            reranker.predict(wrong)
    with pytest.raises(InvalidTextError, match="the query is list"):
        reranker.rank(["query"], ["a"])
    with pytest.raises(InvalidTextError, match="letter by letter"):
        reranker.rank("query", "a")
    with pytest.raises(OptionError, match="rank\\(\\) needs a model of one label"):
        classifier.rank("query", ["a"])
    for wrong in (
        {"batch_size": 0},
        {"prompt_name": "other"},
        {"prompt_name": ""},
        {"prompt": 5},
        {"apply_softmax": "no"},
    ):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            reranker.predict(PAIRS, **wrong)


def test_long_pairs_are_cut_marked_and_counted(reranker, caplog):
    long = "word " * 600
    tokens = reranker.tokenize([("a", "b"), ("a", long), (long,), ("c",)])
    assert tokens.cut == [False, True, True, False]
    assert [len(ids) for ids in tokens.ids] == [5, 512, 512, 3]
    assert [types.max() for types in tokens.types] == [1, 1, 0, 0]
    own = copy.copy(reranker)
    with caplog.at_level("WARNING"):
        for _ in range(2):
            own.predict([("a", long), ("a", "b")])
    assert own.info["truncated"] == 2
    assert caplog.text.count("were cut there") == 1
    assert "1 of 2 pairs have more than 512 tokens and were cut there" in caplog.text
    with pytest.raises(TextTooLongError, match="pair 1 has more than the 512 tokens"):
        reranker.tokenize([("a", "b"), ("a", long)], truncate=False)


def test_each_class_names_the_other(scoring_bundles, tiny_bundle):
    with pytest.raises(BundleError, match=r"m3e_runtime\.Reranker"):
        Encoder.load(scoring_bundles[1])
    with pytest.raises(BundleError, match=r"m3e_runtime\.Encoder"):
        Reranker.load(tiny_bundle)


def test_info(reranker, classifier, scoring_bundles):
    assert classifier.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    info = reranker.info
    assert info["activation"] == "sigmoid"
    assert info["token_types"] is True
    assert info["max_length"] == reranker.max_length == 512
    assert info["fidelity"]["pairs"] > 0
    assert info["fidelity"]["max_difference"] < 1e-3
    assert f"<Reranker {str(scoring_bundles[1])!r}: fp32-" in repr(reranker)
    assert repr(classifier).endswith("3 labels>")


def test_copies_pickles_and_children(reranker):
    expected = reranker.predict(PAIRS)
    data = pickle.dumps(reranker)
    assert len(data) < 2000
    np.testing.assert_array_equal(pickle.loads(data).predict(PAIRS), expected)
    assert copy.copy(reranker)._backend is copy.deepcopy(reranker)._backend is reranker._backend
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, reranker.predict(PAIRS[:4]).tobytes())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(np.frombuffer(os.read(reading, 16), np.float32), expected[:4])


def test_closed(scoring_bundles):
    own = Reranker.load(scoring_bundles[1])
    own.close()
    with pytest.raises(ClosedError):
        own.predict(("a", "b"))
