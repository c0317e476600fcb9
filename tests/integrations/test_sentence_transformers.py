"""Code written for sentence-transformers, with one import changed."""

import inspect
import shutil
import sys
import warnings

import numpy as np
import pytest

from m3e_runtime import BundleError, DependencyMissingError, InvalidTextError, OptionError
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer

FRAMEWORK = "sentence_transformers"
REASON = "sentence-transformers is not installed"


@pytest.fixture(scope="module")
def model(bundle):
    return SentenceTransformer(bundle)


@pytest.fixture
def own_model(bundle):
    """One that a test may change."""
    return SentenceTransformer(bundle, threads=1)


def parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters)


class TestAgainstTheRealPackage:
    @pytest.fixture(scope="class")
    def theirs(self):
        return pytest.importorskip(FRAMEWORK, reason=REASON)

    def test_parameter_names(self, theirs):
        real = theirs.SentenceTransformer
        assert parameters(real.encode) - {"kwargs"} <= parameters(SentenceTransformer.encode)
        assert parameters(real.similarity) <= parameters(SentenceTransformer.similarity)

    def test_order_of_positional_parameters(self, theirs):
        real = list(inspect.signature(theirs.SentenceTransformer.encode).parameters)[2:]
        ours = list(inspect.signature(SentenceTransformer.encode).parameters)[2:]
        known = [name for name in real if name != "kwargs"]
        assert ours[: len(known)] == known

    @pytest.mark.parametrize("method", ["encode_query", "encode_document"])
    def test_queries_and_documents_take_the_same(self, theirs, method, model):
        signature = inspect.signature(getattr(theirs.SentenceTransformer, method)).parameters
        defaults = {
            name: parameter.default
            for name, parameter in signature.items()
            if parameter.default is not parameter.empty
        }
        assert getattr(model, method)(["a text"], **defaults).shape == (1, 384)

    def test_constructor_arguments(self, theirs, bundle):
        signature = inspect.signature(theirs.SentenceTransformer).parameters
        defaults = {
            name: parameter.default
            for name, parameter in signature.items()
            if name not in ("model_name_or_path", "modules", "backend")
        }
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert SentenceTransformer(bundle, **defaults).device == "cpu"

    def test_util_functions(self, theirs, model, documents, query):
        vectors, asked = model.encode(documents), model.encode(query)
        hits = theirs.util.semantic_search(asked, vectors, top_k=2)[0]
        assert hits[0]["corpus_id"] == 0
        scores = theirs.util.cos_sim(asked, vectors).numpy()
        np.testing.assert_allclose(scores, model.similarity(asked, vectors), atol=1e-6)
        tensors = model.encode(documents, convert_to_tensor=True)
        assert theirs.util.semantic_search(tensors[:1], tensors)[0][0]["corpus_id"] == 0

    @pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
    def test_similarities(self, theirs, own_model, documents, name):
        function = theirs.SimilarityFunction(name)
        own_model.similarity_fn_name = function
        assert own_model.similarity_fn_name == name
        a, b = own_model.encode(documents[:2]), own_model.encode(documents[2:])
        expected = theirs.SimilarityFunction.to_similarity_fn(name)(a, b).numpy()
        # Sums of 384 numbers in another order: relative to their size, of some twenty for manhattan.
        np.testing.assert_allclose(own_model.similarity(a, b), expected, atol=1e-5, rtol=2e-6)
        expected = theirs.SimilarityFunction.to_similarity_pairwise_fn(name)(a, b).numpy()
        np.testing.assert_allclose(own_model.similarity_pairwise(a, b), expected, atol=1e-5, rtol=2e-6)

    def test_vectors_of_the_real_model(self, theirs, bundle, minilm, documents):
        real = theirs.SentenceTransformer(str(minilm), device="cpu")
        ours = SentenceTransformer(bundle, artifact="fp32-cpu")
        for options in (
            {},
            {"normalize_embeddings": True, "truncate_dim": 64},
            {"truncate_dim": 10_000},
            {"prompt": "query: "},
        ):
            expected = real.encode(documents, **options)
            np.testing.assert_allclose(ours.encode(documents, **options), expected, atol=1e-5)
        assert ours.get_embedding_dimension() == real.get_embedding_dimension()
        assert ours.max_seq_length == real.max_seq_length
        assert ours.similarity_fn_name == real.similarity_fn_name
        assert not isinstance(ours, theirs.SentenceTransformer)


def test_vectors_are_the_encoders(model, encoder, documents, same):
    same(model.encode(documents), encoder.encode(documents))
    same(model.encode(sentences=documents), encoder.encode(documents))
    same(model.encode(documents[0]), encoder.encode(documents[0]))
    same(model.encode(np.array(documents), batch_size=1), encoder.encode(documents, batch_size=1))
    same(model.encode([]), encoder.encode([]))
    for precision in ("float16", "int8", "ubinary"):
        found = model.encode(documents, precision=precision)
        np.testing.assert_array_equal(found, encoder.encode(documents, precision=precision))


def test_tensors(model, encoder, documents):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = model.encode(documents, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), encoder.encode(documents))
    rows = model.encode(documents, convert_to_numpy=False)
    assert isinstance(rows, list)
    assert torch.equal(torch.stack(rows), tensor)
    assert model.encode(documents[0], convert_to_tensor=True).shape == (384,)
    scores = model.similarity(tensor, rows)
    assert isinstance(scores, torch.Tensor)
    np.testing.assert_array_equal(scores.numpy(), model.similarity(tensor.numpy(), tensor.numpy()))
    assert isinstance(model.similarity_pairwise(tensor, tensor), torch.Tensor)


def test_prompts(prompted, encoder, query, same):
    model = SentenceTransformer(prompted, prompts={"topic": "about: "}, default_prompt_name="topic")
    assert model.prompts == {"query": "question: ", "passage": "passage: ", "topic": "about: "}
    same(model.encode([query]), encoder.encode(["about: " + query]))
    same(model.encode([query], prompt_name="query"), encoder.encode(["question: " + query]))
    same(model.encode([query], prompt=""), encoder.encode([query]))
    same(model.encode_query([query]), encoder.encode(["question: " + query]))
    same(model.encode_document([query]), encoder.encode(["passage: " + query]))
    same(model.encode_query([query], prompt_name="topic"), encoder.encode(["about: " + query]))
    with pytest.raises(OptionError, match="passage, query, topic"):
        model.encode(query, prompt_name="other")


def test_a_prompt_for_each_text(model, encoder, documents, same):
    prompts = ["a: ", "", "b: ", "c: "]
    same(model.encode(documents, prompt=prompts), encoder.encode(documents, prompt=prompts))
    same(model.encode_query(documents, None, prompts), encoder.encode(documents, prompt=prompts))


def test_whether_prompts_are_pooled_is_decided_at_export(model):
    model.set_pooling_include_prompt(True)
    with pytest.raises(OptionError, match=r"include_prompt=True.*export it again"):
        model.set_pooling_include_prompt(False)


def test_prompts_of_a_bundle_that_has_none(bundle, model, encoder, query, same):
    same(model.encode_query(query), encoder.encode(query))
    same(model.encode_document(sentences=[query]), encoder.encode([query]))
    same(model.encode(query, prompt_name="query"), encoder.encode(query))
    same(model.encode(query, prompt_name="document", task="document"), encoder.encode(query))
    assert SentenceTransformer(bundle, default_prompt_name="query").default_prompt_name == "query"
    with pytest.raises(OptionError, match="'other' is not in the bundle"):
        SentenceTransformer(bundle, default_prompt_name="other")


def test_truncation(own_model, encoder, documents, same):
    own_model.truncate_dim = 64
    assert own_model.get_sentence_embedding_dimension() == 64
    same(own_model.encode(documents), encoder.encode(documents, truncate_dim=64))
    with own_model.truncate_embeddings(8):
        assert own_model.encode(documents, truncate_dim=16).shape == (4, 16)
        assert own_model.encode(documents).shape == (4, 8)
    assert own_model.encode(documents).shape == (4, 64)


def test_max_seq_length(own_model, encoder, same):
    long = "word " * 100
    assert own_model.max_seq_length == encoder.max_seq_length
    own_model.max_seq_length = 12
    assert own_model.get_max_seq_length() == 12
    same(own_model.encode([long]), encoder.encode(["word " * 10]))
    own_model.max_seq_length = encoder.max_seq_length
    same(own_model.encode([long]), encoder.encode([long]))
    for impossible in (2, encoder.max_seq_length + 1):
        with pytest.raises(OptionError, match=f"max_seq_length={impossible}"):
            own_model.max_seq_length = impossible


def test_device(model, bundle):
    assert model.device == "cpu"
    assert model.eval().to("cpu") is model
    assert model.encode("a text", device="cpu").shape == (384,)
    for number in (0, 1):
        with pytest.raises(OptionError, match="load another"):
            model.encode("a text", device=number)
    with pytest.raises(OptionError, match="float"):
        SentenceTransformer(bundle, device=0.5)
    with pytest.raises(OptionError, match="load another"):
        model.to("cuda")
    with pytest.raises(OptionError, match="mps"):
        SentenceTransformer(bundle, device="mps")


def test_refused(model, documents):
    for output_value in ("input_ids", "tokens", 1):
        with pytest.raises(OptionError, match="'token_embeddings' or None"):
            model.encode(documents, output_value=output_value)
    for output_value in ("token_embeddings", None):
        with pytest.raises(OptionError, match="for sentence embeddings"):
            model.encode(documents, output_value=output_value, precision="int8")
    for several in ({"pool": {}}, {"device": ["cpu", "cpu"]}):
        with pytest.raises(OptionError, match="several processes"):
            model.encode(documents, **several)
    with pytest.raises(TypeError, match="normalise"):
        model.encode(documents, normalise=True)
    with pytest.raises(TypeError, match="normalise"):
        model.encode_query(documents, normalise=True)
    for texts in ({}, {"inputs": ["a"], "sentences": ["a"]}):
        with pytest.raises(TypeError, match="sentences"):
            model.encode(**texts)
    with pytest.raises(InvalidTextError):
        model.encode([("a", "pair")])
    with pytest.raises(OptionError, match="batch_size"):
        model.encode(documents, batch_size=0)


def test_dictionaries_of_a_text(model, encoder, documents, same):
    same(model.encode([{"text": text} for text in documents]), encoder.encode(documents))
    same(model.encode({"text": documents[0]}), encoder.encode(documents[0]))
    same(model.encode_query([{"text": documents[0]}], prompt="q: "), encoder.encode(["q: " + documents[0]]))
    with pytest.raises(InvalidTextError, match="image"):
        model.encode([{"image": "x.png"}])
    with pytest.raises(InvalidTextError, match="no order"):
        model.encode(set(documents))


def test_tasks_are_those_of_encode_query_and_encode_document(model, encoder, query, same):
    same(model.encode(query, task="query"), encoder.encode(query))
    same(model.encode_document([query], task="document"), encoder.encode([query]))
    with pytest.raises(OptionError, match="'classification'"):
        model.encode(query, task="classification")


def test_prompts_that_are_none_are_none(bundle, encoder, query, same):
    model = SentenceTransformer(bundle, prompts={"query": None, "document": "d: "})
    same(model.encode_query(query), encoder.encode(query))
    same(model.encode_document(query), encoder.encode("d: " + query))
    with pytest.raises(OptionError, match="prompts"):
        SentenceTransformer(bundle, prompts=["query"])
    with pytest.raises(OptionError, match="'query'"):
        SentenceTransformer(bundle, prompts={"query": 5})


def test_codes_of_one_text_need_ranges(model, documents):
    found = model.encode(documents)
    ranges = np.stack([found.min(axis=0), found.max(axis=0)])
    codes = model.encode(documents, precision="uint8", ranges=ranges)
    one = model.encode(documents[0], precision="uint8", ranges=ranges)
    assert np.abs(codes[0].astype(int) - one).max() <= 1
    with pytest.raises(ValueError, match="needs ranges"):  # as sentence-transformers
        model.encode(documents[0], precision="uint8")


def test_vectors_that_do_not_fit_together(model, documents):
    a = model.encode(documents)
    for function in (model.similarity, model.similarity_pairwise):
        with pytest.raises(OptionError, match="384 and of 8 dimensions"):
            function(a, a[:, :8])
    with pytest.raises(OptionError, match="not pairs"):
        model.similarity_pairwise(a, a[:2])


def test_the_tokenizer_counts_as_the_encoder_does(own_model, encoder):
    pytest.importorskip("transformers", reason="transformers is not installed")
    text = "How do I change the card?"
    assert own_model.tokenizer.encode(text) == encoder.tokenizer.encode(text).tolist()
    assert own_model.tokenizer.decode(own_model.tokenizer.encode(text), skip_special_tokens=True)
    assert len(own_model.tokenizer("word " * 1000)["input_ids"]) == 1002  # a splitter counts all
    own_model.max_seq_length = 12
    assert own_model.tokenizer.model_max_length == 12
    assert len(own_model.tokenizer.tokenize("word " * 9)) == 9


def test_tokenize(model, encoder, documents):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    found = model.tokenize([*documents, "word " * 1000])
    expected = encoder.tokenizer.encode_batch([*documents, "word " * 1000])
    assert isinstance(found["input_ids"], torch.Tensor)
    for ids, mask, row in zip(found["input_ids"], found["attention_mask"], expected, strict=True):
        np.testing.assert_array_equal(ids[mask == 1].numpy(), row)
    assert (
        model.preprocess(["b"], prompt="a ")["input_ids"].shape == model.tokenize(["a b"])["input_ids"].shape
    )


def test_without_transformers_the_tokenizer_says_what_to_install(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyMissingError, match=r"m3e-runtime\[torch\]"):
        _ = SentenceTransformer(bundle).tokenizer


def test_not_offered(model):
    with pytest.raises(AttributeError, match="every core"):
        model.start_multi_process_pool()
    with pytest.raises(AttributeError, match="encodes and nothing else"):
        model.fit([])
    with pytest.raises(AttributeError, match="not an attribute"):
        _ = model.anything
    assert not hasattr(model, "save_pretrained")


def test_constructor(bundle):
    with pytest.warns(UserWarning, match="cache_folder, model_kwargs ignored"):
        SentenceTransformer(bundle, cache_folder="x", model_kwargs={}, trust_remote_code=False)
    for unknown in ("modules", "anything"):
        with pytest.raises(TypeError, match=unknown):
            SentenceTransformer(bundle, **{unknown: []})
    with pytest.raises(OptionError, match="similarity_fn_name"):
        SentenceTransformer(bundle, similarity_fn_name="maxsim")
    with pytest.raises(BundleError, match="m3e-export"):
        SentenceTransformer("moka-ai/m3e-base")


def test_folder_with_a_bundle(bundle, tmp_path, encoder, query, same):
    shutil.copytree(bundle, tmp_path / "first")
    same(SentenceTransformer(tmp_path).encode(query), encoder.encode(query))
    shutil.copytree(bundle, tmp_path / "second")
    with pytest.raises(BundleError, match="first, second"):
        SentenceTransformer(tmp_path)
