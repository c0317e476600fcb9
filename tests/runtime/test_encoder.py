"""Encoder behaviour: order, shapes, options, odd texts, threads."""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from m3e_runtime import Encoder, EngineMissingError, InvalidTextError, OptionError
from m3e_runtime.backends import native
from m3e_runtime.backends.choice import CPU_BACKENDS

TEXTS = [
    "今天天气很好",
    "short",
    "a longer English sentence about nothing in particular",
    "",
    "混合 mixed 文本 text",
    "😀🎉",
]


@pytest.fixture(scope="module", params=CPU_BACKENDS)
def encoder(minilm_bundle, request):
    return load(minilm_bundle, request.param, threads=2)


@pytest.fixture(scope="module", params=CPU_BACKENDS)
def tiny(tiny_bundle, request):
    return load(tiny_bundle, request.param)


def load(bundle, backend, **options):
    if backend == "native" and (reason := native.missing()):
        pytest.skip(reason)
    target = {"native": "native", "onnxruntime": "cpu"}[backend]
    return Encoder.load(bundle, artifact=f"fp32-{target}", **options)


def test_a_string_gives_a_vector_and_a_list_a_matrix(encoder):
    assert encoder.encode("hello").shape == (384,)
    assert encoder.encode(["hello"]).shape == (1, 384)
    assert encoder.encode(("a", "b", "c")).shape == (3, 384)
    assert encoder.encode(np.array(["a", "b"])).shape == (2, 384)


@pytest.mark.parametrize(
    ("precision", "shape", "dtype"),
    [
        ("float32", (0, 384), np.float32),
        ("float16", (0, 384), np.float16),
        ("int8", (0, 384), np.int8),
        ("ubinary", (0, 48), np.uint8),
    ],
)
def test_an_empty_list_gives_an_empty_matrix(encoder, precision, shape, dtype):
    vectors = encoder.encode([], precision=precision)
    assert vectors.shape == shape
    assert vectors.dtype == dtype


def test_order_is_kept_and_equals_sentence_transformers(encoder, minilm_reference):
    texts = [" ".join(["word"] * n) for n in (90, 1, 40, 3, 200, 2)] + TEXTS
    expected = minilm_reference.encode(texts)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
    np.testing.assert_allclose(np.stack([encoder.encode(t) for t in texts]), expected, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"truncate_dim": 64}, {"truncate_dim": 64, "normalize_embeddings": True}]
)
def test_truncation_and_normalization_follow_sentence_transformers(encoder, minilm_reference, options):
    np.testing.assert_allclose(
        encoder.encode(TEXTS, **options), minilm_reference.encode(TEXTS, **options), atol=1e-5
    )


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_output_precisions_follow_sentence_transformers(encoder, minilm_reference, precision):
    texts = [f"sentence number {n} about topic {n % 7}" for n in range(120)]
    expected = minilm_reference.encode(texts, precision=precision)
    found = encoder.encode(texts, precision=precision)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    # A float that lies on the edge of two codes may fall on either side of it.
    assert (found == expected).mean() > 0.995


def test_float16_is_the_rounded_float32(encoder):
    np.testing.assert_array_equal(
        encoder.encode(TEXTS, precision="float16"), encoder.encode(TEXTS).astype(np.float16)
    )


def test_given_ranges_make_int8_codes_comparable(encoder):
    ranges = np.stack([np.full(384, -0.3), np.full(384, 0.3)]).astype(np.float32)
    together = encoder.encode(TEXTS, precision="int8", ranges=ranges)
    alone = np.stack([encoder.encode(text, precision="int8", ranges=ranges) for text in TEXTS])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_the_stream_equals_the_list(encoder):
    texts = [f"{'word ' * (n % 9)}{n}" for n in range(57)]
    streamed = np.stack(list(encoder.encode_iter(iter(texts), window=10)))
    np.testing.assert_allclose(streamed, encoder.encode(texts), atol=1e-6)


def test_the_stream_reads_no_further_than_its_window(tiny):
    read = []

    def source():
        for number in itertools.count():
            read.append(number)
            yield f"text {number}"

    vectors = tiny.encode_iter(source(), window=8)
    next(vectors)
    assert len(read) == 8


def test_a_stream_of_int8_needs_ranges(tiny):
    with pytest.raises(OptionError, match="ranges"):
        tiny.encode_iter(["a"], precision="int8")


def test_long_texts_are_cut_at_the_models_maximum(encoder, minilm_reference):
    text = "tree house " * 5000
    np.testing.assert_allclose(encoder.encode(text), minilm_reference.encode(text), atol=1e-5)
    assert len(encoder.tokenizer.encode(text)) == encoder.max_seq_length == 256


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00\x01\x07", "\u200b", "😀" * 300, "\n\t\r", "字" * 10_000, "\ufffd", "[CLS] [SEP] [PAD]"],
)
def test_odd_texts_give_what_sentence_transformers_gives(encoder, minilm_reference, text):
    np.testing.assert_allclose(encoder.encode(text), minilm_reference.encode(text), atol=1e-5)
    np.testing.assert_allclose(encoder.encode([text, "x"])[0], minilm_reference.encode(text), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [None, 5, b"bytes", ["ok", 5], ["ok", None], ["ok", b"x"], [["nested"]], object()]
)
def test_anything_but_strings_is_a_typed_error(tiny, wrong):
    with pytest.raises(InvalidTextError, match="str"):
        tiny.encode(wrong)


@pytest.mark.parametrize("text", ["\ud800", "before \udfff after"])
def test_a_lone_surrogate_is_a_typed_error_that_names_the_text(tiny, text):
    with pytest.raises(InvalidTextError, match=r"text 0 .*surrogate"):
        tiny.encode(text)
    with pytest.raises(InvalidTextError, match=r"text 1 .*surrogate"):
        tiny.encode(["fine", text])


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "int4"},
        {"truncate_dim": 0},
        {"truncate_dim": 10_000},
        {"batch_size": 0},
        {"prompt_name": "no such prompt"},
        {"precision": "int8", "ranges": np.zeros((2, 3), np.float32)},
    ],
)
def test_options_out_of_range_are_typed_errors(tiny, options):
    with pytest.raises(OptionError):
        tiny.encode(["a", "b"], **options)


@pytest.mark.parametrize(
    "options", [{"device": "tpu"}, {"threads": 0}, {"artifact": "fp64-cpu"}, {"device": "cuda:x"}]
)
def test_load_refuses_what_it_cannot_serve(tiny_bundle, options):
    with pytest.raises(OptionError):
        Encoder.load(tiny_bundle, **options)


def test_batch_size_bounds_a_run_and_changes_nothing_else(encoder, monkeypatch):
    sizes = []
    run = encoder._backend.run

    def counted(token_ids, *rest):
        sizes.append(len(token_ids))
        return run(token_ids, *rest)

    monkeypatch.setattr(encoder._backend, "run", counted)
    texts = ["one two three"] * 20
    limited = encoder.encode(texts, batch_size=3)
    assert max(sizes) == 3
    np.testing.assert_allclose(limited, encoder.encode(texts), atol=1e-6)


def test_a_prompt_is_put_before_the_text(encoder):
    np.testing.assert_array_equal(encoder.encode("world", prompt="hello "), encoder.encode("hello world"))
    np.testing.assert_allclose(
        encoder.encode(["world"], prompt="hello "), encoder.encode(["hello world"]), atol=1e-6
    )


def test_each_text_may_have_a_prompt_of_its_own(encoder):
    prompts = ["query: ", "", "Represent the sentence;\n", "x", "查询：", " "]
    joined = encoder.encode([prompt + text for prompt, text in zip(prompts, TEXTS, strict=True)])
    np.testing.assert_array_equal(encoder.encode(TEXTS, prompt=prompts), joined)
    np.testing.assert_array_equal(encoder.encode(TEXTS, "no such name", np.array(prompts)), joined)
    np.testing.assert_allclose(list(encoder.encode_iter(TEXTS, prompt=prompts, window=4)), joined, atol=1e-6)
    endless = encoder.encode_iter(TEXTS[:3], prompt=itertools.cycle(["query: ", "passage: "]))
    expected = encoder.encode(TEXTS[:3], prompt=["query: ", "passage: ", "query: "])
    np.testing.assert_allclose(list(endless), expected, atol=1e-6)


def test_prompts_are_one_for_all_or_one_for_each(tiny):
    for prompts in ([], ["one"], ["one", "two", "three"]):
        with pytest.raises(OptionError, match=f"{len(prompts)} prompts for 2 texts"):
            tiny.encode(["a", "b"], prompt=prompts)
    with pytest.raises(OptionError, match="1 prompts for 2 texts"):
        list(tiny.encode_iter(iter(["a", "b"]), prompt=iter(["one"])))
    with pytest.raises(OptionError, match="one prompt"):
        tiny.encode("a", prompt=["one"])
    assert tiny.encode([], prompt=[]).shape == (0, 64)
    for wrong in ([5, "x"], [None, "x"], b"xy", 5):
        with pytest.raises(InvalidTextError, match="string"):
            tiny.encode(["a", "b"], prompt=wrong)
    with pytest.raises(InvalidTextError, match="text 1 is int"):
        list(tiny.encode_iter(["a", 5], prompt="query: "))


def test_pairs_of_instruction_and_text_are_told_where_instructions_go(tiny):
    with pytest.raises(InvalidTextError, match=r"text 0 is list.*prompt=\["):
        tiny.encode([["Represent the sentence: ", "text"]])


def test_similarity_is_the_cosine(encoder, minilm_reference):
    vectors = encoder.encode(TEXTS) * 3
    expected = minilm_reference.similarity(vectors, vectors).numpy()
    np.testing.assert_allclose(encoder.similarity(vectors, vectors), expected, atol=1e-5)
    assert encoder.similarity(vectors[0], vectors).shape == (1, len(TEXTS))


def test_info_says_what_runs(encoder):
    info = encoder.info
    assert (info["artifact"], info["engine"].split()[0]) in {
        ("fp32-cpu", "onnxruntime-cpu"),
        ("fp32-native", "native"),
    }
    assert info["threads"] == 2
    assert info["fidelity"]["min_cosine"] >= 0.99999


@pytest.mark.parametrize("artifact", ["fp32-cpu", "int8-cpu"])  # native: in test_native_engine.py
def test_sixteen_threads_get_identical_results(minilm_bundle, artifact):
    shared = Encoder.load(minilm_bundle, artifact=artifact, threads=2)
    groups = [[f"{text} {n}" for text in TEXTS] for n in range(4)]
    expected = [shared.encode(group) for group in groups]
    start = threading.Barrier(16)

    def work(worker):
        start.wait()
        return [shared.encode(groups[(worker + n) % 4]) for n in range(6)]

    with ThreadPoolExecutor(16) as pool:
        for worker, results in enumerate(pool.map(work, range(16))):
            for n, result in enumerate(results):
                np.testing.assert_array_equal(result, expected[(worker + n) % 4])


def test_memory_is_flat_over_ten_thousand_encodes_of_random_shapes(tiny):
    random = np.random.default_rng(0)
    process = psutil.Process(os.getpid())

    def encodes(count):
        for _ in range(count):
            texts = ["字" * int(n) for n in random.integers(1, 200, size=random.integers(1, 6))]
            tiny.encode(texts)

    encodes(2000)  # every batch and length up to the bounds has been seen by now
    before = process.memory_info().rss
    encodes(8000)
    grown = (process.memory_info().rss - before) / 2**20
    assert grown < 8, f"resident memory grew by {grown:.1f} MiB"


def test_a_missing_engine_says_what_to_install(tiny_bundle, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(EngineMissingError, match=r"m3e-runtime\[cpu\]"):
        Encoder.load(tiny_bundle, backend="onnxruntime")
