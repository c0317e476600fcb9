"""Vectors of tokens: those that are pooled, whole, in order, and with the same bytes in every batch."""

import numpy as np
import pytest

from m3e_runtime import ClosedError, Encoder, InvalidTextError, OptionError
from m3e_runtime.backends import native
from m3e_runtime.encoding import base

TEXTS = ["hello world", "", "今天天气很好", *(f"word {n} " * n for n in range(0, 40, 3)), "long " * 600]

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module", params=["native", "cpu"])
def encoder(tiny_bundle, request):
    if request.param == "native" and native.missing():
        pytest.skip(native.missing())
    return Encoder.load(tiny_bundle, artifact=f"fp32-{request.param}", threads=2)


@needs_native
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_gives_the_same_bytes_in_any_batch_and_with_any_threads(tiny_bundle, precision):
    alone = [
        Encoder.load(tiny_bundle, artifact=f"{precision}-native", threads=1).encode_tokens(t) for t in TEXTS
    ]
    for threads in (1, 2, 3):
        encoder = Encoder.load(tiny_bundle, artifact=f"{precision}-native", threads=threads)
        for batch_size in (None, 1, 3):
            for found, expected in zip(
                encoder.encode_tokens(TEXTS, batch_size=batch_size), alone, strict=True
            ):
                assert found.tobytes() == expected.tobytes()


def test_there_is_one_for_each_token_and_the_mean_is_the_vector_of_the_text(encoder):
    for prompt in (None, "query: "):
        tokens = encoder.encode_tokens(TEXTS, prompt=prompt)
        ids = encoder.tokenizer.encode_batch([(prompt or "") + text for text in TEXTS])
        assert [found.shape for found in tokens] == [(len(each), 64) for each in ids]
        assert len(ids[-1]) == encoder.max_seq_length
        means = np.stack([found.mean(axis=0) for found in tokens])
        np.testing.assert_allclose(means, encoder.encode(TEXTS, prompt=prompt), atol=1e-5)


def test_the_run_that_gives_them_gives_the_bytes_of_encode_and_the_ids(encoder):
    found = encoder.encode_with_tokens(TEXTS)
    assert np.stack([each.sentence_embedding for each in found]).tobytes() == encoder.encode(TEXTS).tobytes()
    for each, ids in zip(found, encoder.tokenizer.encode_batch(TEXTS), strict=True):
        np.testing.assert_array_equal(each.token_ids, ids)


def test_a_prompt_that_is_not_pooled_has_vectors_too(unpooled_bundle, tiny_bundle):
    for backend in ("native", "onnxruntime"):
        if backend == "native" and native.missing():
            continue
        left_out = Encoder.load(unpooled_bundle, backend=backend)
        found = left_out.encode_with_tokens(TEXTS, prompt="query: ")
        expected = Encoder.load(tiny_bundle, backend=backend)
        assert [len(each.token_embeddings) for each in found] == list(
            map(len, expected.tokenizer.encode_batch([f"query: {text}" for text in TEXTS]))
        )
        vectors = np.stack([each.sentence_embedding for each in found])
        np.testing.assert_array_equal(vectors, left_out.encode(TEXTS, prompt="query: "))


def test_a_batch_is_within_the_token_budget_and_nothing_holds_it(encoder, monkeypatch):
    monkeypatch.setattr(type(encoder._backend), "token_budget", 500)
    run, sizes = encoder._backend.run_tokens, []

    def measured(token_ids, prompt_lengths):
        sizes.append(sum(map(len, token_ids)))
        return run(token_ids, prompt_lengths)

    monkeypatch.setattr(encoder._backend, "run_tokens", measured)
    found = encoder.encode_with_tokens(TEXTS)
    assert len(sizes) > 1
    assert max(sizes) <= 512  # the longest text is over the budget
    assert all(each.token_embeddings.base is None for each in found)


def test_windows_give_the_same_and_name_texts_by_their_place(encoder, monkeypatch):
    expected = encoder.encode_tokens(TEXTS[:9])
    monkeypatch.setattr(base, "WINDOW", 4)
    for found, each in zip(encoder.encode_tokens(TEXTS[:9]), expected, strict=True):
        np.testing.assert_allclose(found, each, atol=2e-6)
    with pytest.raises(InvalidTextError, match="text 7"):
        encoder.encode_tokens([*TEXTS[:7], 5])


def test_no_texts(encoder):
    assert encoder.encode_tokens([]) == []


def test_wrong_arguments(encoder):
    with pytest.raises(OptionError, match="one text takes one prompt"):
        encoder.encode_tokens("a", prompt=["b"])
    with pytest.raises(OptionError, match="2 prompts for 1"):
        encoder.encode_tokens(["a"], prompt=["b", "c"])
    with pytest.raises(OptionError, match="batch_size"):
        encoder.encode_tokens(["a"], batch_size=0)


def test_an_artifact_that_gives_none_says_which_does(tiny_bundle, monkeypatch):
    encoder = Encoder.load(tiny_bundle, artifact="fp32-cpu")
    monkeypatch.setattr(encoder._backend, "gives_tokens", False)
    with pytest.raises(OptionError, match=r"'fp32-cpu' gives vectors of texts.*fp32-native, int8-native"):
        encoder.encode_tokens("a")


def test_a_closed_encoder(tiny_bundle):
    for backend in ("native", "onnxruntime"):
        if backend == "native" and native.missing():
            continue
        encoder = Encoder.load(tiny_bundle, backend=backend)
        encoder.close()
        with pytest.raises(ClosedError):
            encoder.encode_tokens("a")
