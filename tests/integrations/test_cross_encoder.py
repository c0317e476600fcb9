"""Code written for sentence-transformers' CrossEncoder, with one import changed."""

import copy
import inspect
import pickle
import shutil
import sys
import warnings

import numpy as np
import pytest

from m3e_runtime import BundleError, InvalidTextError, OptionError, Reranker
from m3e_runtime.integrations.sentence_transformers import CrossEncoder
from scoring_bundles import random_pairs
from synthetic import read_json, write_json

PAIRS = random_pairs(12)
PROMPTS = {"query": "question: ", "other": "other: "}


@pytest.fixture(scope="module")
def model(scoring_bundles):
    return CrossEncoder(scoring_bundles[1])


@pytest.fixture(scope="module")
def prompted(scoring_bundles, tmp_path_factory):
    """The reranker's bundle, with prompts."""
    folder = tmp_path_factory.mktemp("prompted") / "bundle"
    shutil.copytree(scoring_bundles[1], folder)
    content = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**content, "prompts": PROMPTS, "default_prompt_name": "query"})
    return folder


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


class TestAgainstTheRealPackage:
    @pytest.fixture(scope="class")
    def real(self):
        package = pytest.importorskip("sentence_transformers", reason="it is not installed")
        return package.CrossEncoder

    @pytest.fixture(scope="class", params=[1, 3])
    def both(self, real, request, classifiers, scoring_bundles):
        theirs = real(str(classifiers[request.param]), device="cpu")
        return theirs, CrossEncoder(str(scoring_bundles[request.param]), device="cpu")

    @pytest.mark.parametrize("method", ["predict", "rank"])
    def test_parameters_and_their_order(self, real, method):
        known = [name for name in parameters(getattr(real, method)) if name != "kwargs"]
        assert parameters(getattr(CrossEncoder, method))[: len(known)] == known

    def test_constructor_arguments(self, real, scoring_bundles):
        signature = inspect.signature(real.__init__).parameters
        defaults = {
            name: parameter.default
            for name, parameter in signature.items()
            if name not in ("self", "model_name_or_path", "modules", "backend")
        }
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert CrossEncoder(scoring_bundles[1], **defaults).device == "cpu"

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"apply_softmax": True},
            {"convert_to_tensor": True},
            {"convert_to_numpy": False},
            {"batch_size": 2, "prompt": "prompt: "},
            {"activation_fn": "Identity"},
            {"activation_fn": "Tanh", "convert_to_tensor": True},
        ],
    )
    @pytest.mark.parametrize("pairs", [PAIRS, [list(PAIRS[2])], PAIRS[1], "one text", ["two", "texts"]])
    def test_scores(self, both, options, pairs):
        if "activation_fn" in options:
            torch = pytest.importorskip("torch")
            options = {**options, "activation_fn": getattr(torch.nn, options["activation_fn"])()}
        expected, found = (each.predict(pairs, **options) for each in both)
        assert type(found) is type(expected)
        if isinstance(expected, list):
            assert [each.shape for each in found] == [each.shape for each in expected]
            expected, found = map(np.stack, (expected, found))
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)

    @pytest.mark.parametrize(
        "function",
        [
            lambda torch: torch.nn.Sequential(),  # which is false, and the identity
            lambda torch: lambda logits: torch.sigmoid(logits).bfloat16(),
            lambda torch: lambda logits: (3 * logits).double(),
            lambda torch: lambda logits: logits.squeeze(-1),
        ],
        ids=["empty", "bfloat16", "double", "squeezed"],
    )
    def test_activation_functions_of_every_kind(self, both, function):
        function = function(pytest.importorskip("torch"))
        for pairs in (PAIRS, PAIRS[1]):
            expected, found = (each.predict(pairs, activation_fn=function) for each in both)
            np.testing.assert_allclose(found, expected, atol=1e-2)
            assert np.shape(found) == np.shape(expected)

    def test_settings(self, both):
        theirs, ours = both
        assert ours.num_labels == theirs.num_labels
        assert ours.max_seq_length == theirs.max_seq_length
        assert ours.tokenizer("a", "b")["input_ids"] == theirs.tokenizer("a", "b")["input_ids"]

    def test_max_length(self, real, classifiers, scoring_bundles):
        theirs = real(str(classifiers[1]), device="cpu", max_length=24)
        ours = CrossEncoder(scoring_bundles[1], max_length=24)
        assert ours.max_length == 24
        np.testing.assert_allclose(ours.predict(PAIRS), theirs.predict(PAIRS), atol=1e-5)

    def test_mistakes_that_both_refuse(self, both):
        for each in both:
            with pytest.raises(ValueError, match="batch_size"):
                each.predict(PAIRS, batch_size=0)
            with pytest.raises((TypeError, OptionError), match=r"activation_fn='' is|not callable"):
                each.predict(PAIRS, activation_fn="")
            with pytest.raises(ValueError, match="'other'"):
                each.predict(PAIRS, prompt_name="other")
        if both[0].num_labels > 1:
            for each in both:
                with pytest.raises(ValueError, match="rank"):
                    each.rank("a", ["b"])

    @pytest.mark.parametrize("options", [{"return_documents": True}, {"top_k": 2}, {"num_workers": 3}])
    def test_ranks(self, both, options):
        if both[0].num_labels > 1:
            pytest.skip("rankers have one label")
        expected, found = (each.rank("天气", ["a", "weather", "今天"], **options) for each in both)
        scores, theirs = ([each.pop("score") for each in ranked] for ranked in (found, expected))
        assert scores == pytest.approx(theirs, abs=1e-5)
        assert found == expected


def test_older_names(model):
    expected = model.predict(PAIRS)
    np.testing.assert_array_equal(model.predict(sentences=PAIRS), expected)
    np.testing.assert_array_equal(model.predict(PAIRS, activation_fct="sigmoid", num_workers=2), expected)
    with pytest.raises(TypeError, match="inputs"):
        model.predict()
    with pytest.raises(TypeError, match="pool_size"):
        model.rank("a", ["b"], pool_size=2)


def test_prompts(prompted):
    plain = Reranker.load(prompted)
    pair, asked = ("a", "b"), ("question: a", "b")
    model = CrossEncoder(prompted)
    assert model.predict(pair) == plain.predict(pair) == plain.predict(asked, prompt="")
    assert model.predict(pair, prompt_name="other") == plain.predict(("other: a", "b"), prompt="")
    assert model.predict(pair, prompt="") == plain.predict(pair, prompt="")
    own = CrossEncoder(prompted, prompts={"mine": "m: ", "query": None}, default_prompt_name="mine")
    assert own.predict(pair) == plain.predict(pair, prompt="m: ")
    assert own.rank("a", ["b"])[0]["score"] == plain.predict(pair, prompt="m: ")
    with pytest.raises(OptionError, match="nowhere"):
        CrossEncoder(prompted, default_prompt_name="nowhere")


def test_the_activation_of_the_model(scoring_bundles):
    model = CrossEncoder(scoring_bundles[1], activation_fn="identity")
    assert model.predict(PAIRS[0]) == model._reranker.logits(PAIRS[0])[0]
    model.activation_fn = "sigmoid"
    assert 0 < model.predict(PAIRS[0]) < 1
    with pytest.raises(OptionError, match="relu"):
        CrossEncoder(scoring_bundles[1], activation_fn="relu")


def test_copies_and_pickles(model):
    expected = model.predict(PAIRS)
    shorter = copy.copy(model)
    shorter.max_length = 8
    assert model.max_length == 512
    again = pickle.loads(pickle.dumps(shorter))
    assert again.max_length == 8
    np.testing.assert_array_equal(again.predict(PAIRS), shorter.predict(PAIRS))
    np.testing.assert_array_equal(model.predict(PAIRS), expected)


def test_mistakes_and_what_is_not_offered(model, scoring_bundles, tiny_bundle):
    for wrong in ({"num_labels": 2}, {"max_length": 513}, {"max_length": 3}, {"threads": 0}):
        with pytest.raises(OptionError):
            CrossEncoder(scoring_bundles[1], **wrong)
    with pytest.raises(BundleError, match="Encoder"):
        CrossEncoder(tiny_bundle)
    with pytest.raises(TypeError, match="modules"):
        CrossEncoder(scoring_bundles[1], modules=[])
    with pytest.warns(UserWarning, match="trust_remote_code, revision ignored"):
        CrossEncoder(scoring_bundles[1], trust_remote_code=True, revision="main")
    with pytest.raises(AttributeError, match="Use sentence-transformers"):
        model.fit()
    with pytest.raises(OptionError, match="several processes"):
        model.predict(PAIRS, pool={})
    with pytest.raises(OptionError, match="the model is on 'cpu'"):
        model.to("cuda")
    with pytest.raises(InvalidTextError, match="pair 0 holds int"):
        model.predict([("a", 1)])
    assert model.eval() is model.to("cpu") is model
    assert not hasattr(model, "__array__")
    assert repr(model).startswith("CrossEncoder(<Reranker ")


def test_names_need_no_torch(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert model.predict(PAIRS, activation_fn="identity").shape == (len(PAIRS),)
    assert len(model.rank("a", ["b", "c"])) == 2
