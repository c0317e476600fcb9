"""``output_value`` of sentence-transformers, beside the package itself."""

import sys

import numpy as np
import pytest

from m3e_runtime import DependencyMissingError
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer

torch = pytest.importorskip("torch", reason="torch is not installed")
framework = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

TEXTS = ["hello world", "", "a", "今天天气很好", "the weather is good today " * 90]
OPTIONS = [
    {},
    {"prompt": "query: "},
    {"batch_size": 2},
    {"normalize_embeddings": True},
    {"truncate_dim": 5},
    {"convert_to_tensor": True},
    {"convert_to_numpy": False},
    {"precision": None},
]


@pytest.fixture(scope="module", params=["native", "cpu"])
def model(tiny_bundle, request):
    return SentenceTransformer(tiny_bundle, artifact=f"fp32-{request.param}")


@pytest.fixture(scope="module")
def theirs(tiny_checkpoint):
    return framework.SentenceTransformer(str(tiny_checkpoint), device="cpu")


def assert_same(ours, expected):
    assert type(ours) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
        torch.testing.assert_close(ours, expected.clone(), atol=2e-5, rtol=0)
    else:
        assert ours == expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_vectors_of_tokens(model, theirs, options):
    ours = model.encode(TEXTS, output_value="token_embeddings", **options)
    expected = theirs.encode(TEXTS, output_value="token_embeddings", **options)
    assert isinstance(ours, list)
    for a, b in zip(ours, expected, strict=True):
        assert_same(a, b)
    assert_same(
        model.encode(TEXTS[0], output_value="token_embeddings", **options),
        theirs.encode(TEXTS[0], output_value="token_embeddings", **options),
    )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("text", TEXTS)
def test_everything_about_a_text(model, theirs, text, options):
    ours = model.encode(text, output_value=None, **options)
    expected = theirs.encode(text, output_value=None, **options)
    assert list(ours) == list(expected)
    for name, value in expected.items():
        assert_same(ours[name], value)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_everything_about_several_texts_is_theirs_without_padding(model, theirs, options):
    ours = model.encode(TEXTS, output_value=None, **options)
    for each, expected in zip(ours, theirs.encode(TEXTS, output_value=None, **options), strict=True):
        assert list(each) == list(expected)
        length = int(expected["attention_mask"].sum())
        for name, value in expected.items():
            padded = isinstance(value, torch.Tensor) and name != "sentence_embedding"
            assert_same(each[name], value[:length] if padded else value)


@pytest.mark.parametrize("output_value", ["token_embeddings", None])
def test_no_texts(model, theirs, output_value):
    assert model.encode([], output_value=output_value) == []
    assert theirs.encode([], output_value=output_value) == []


def test_each_text_may_have_a_prompt_of_its_own(model):
    prompts = ["query: ", "", "q"]
    together = model.encode(["a", "b", "c"], prompt=iter(prompts), output_value=None)
    for text, prompt, found in zip("abc", prompts, together, strict=True):
        alone = model.encode(text, prompt=prompt, output_value=None)
        assert list(found) == list(alone)
        np.testing.assert_allclose(found["token_embeddings"], alone["token_embeddings"], atol=2e-6)
        assert found.get("prompt_length", 0) == model._encoder.tokenizer.prompt_length(prompt)


@pytest.mark.parametrize("output_value", ["token_embeddings", None])
def test_without_torch_the_error_says_what_gives_arrays(model, output_value, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        DependencyMissingError, match=r"m3e_runtime\.Encoder gives arrays.*m3e-runtime\[torch\]"
    ):
        model.encode("a", output_value=output_value)
