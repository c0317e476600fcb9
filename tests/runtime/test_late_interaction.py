"""Queries and documents of models such as ColBERT, which have no vector of a text."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from c_bundles import ARGUMENT, CBundleError, CModel
from m3e_runtime import AsyncEncoder, Bundle, BundleError, Encoder, OptionError
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.errors import TextTooLongError
from m3e_runtime.hybrid import max_sim, max_sim_scores
from synthetic import read_json, write_json

TEXTS = ["hello, world!", "", "今天天气很好，我们去公园。", *(f"word {n}, " * n for n in range(1, 30, 7))]
ONLY = ("multi_vector",)
NATIVE = ["fp32-native", "fp16-native", "int8-native"]


def instruction_sets() -> list[str]:
    if native.missing():
        return []
    from m3e_runtime._native import instruction_sets as usable

    return usable().split()


@pytest.fixture(scope="module")
def encoder(colbert_bundle):
    return Encoder.load(colbert_bundle, artifact="fp32-native", threads=2)


def vectors_of(encoder, task, **options):
    return encoder.encode_outputs(TEXTS, ONLY, task=task, **options).multi_vector


@pytest.mark.parametrize("artifact", NATIVE)
@pytest.mark.parametrize("task", ["query", "document"])
def test_a_text_gives_the_same_bytes_in_any_batch_and_with_any_threads(colbert_bundle, artifact, task):
    alone = vectors_of(Encoder.load(colbert_bundle, artifact=artifact, threads=1), task, batch_size=1)
    for threads in (1, 2, 3):
        encoder = Encoder.load(colbert_bundle, artifact=artifact, threads=threads)
        for batch_size in (None, 3):
            found = vectors_of(encoder, task, batch_size=batch_size)
            assert [each.tobytes() for each in found] == [each.tobytes() for each in alone]


@pytest.mark.parametrize("artifact", [*NATIVE[1:], "fp32-cpu", "fp16-cpu", "int8-cpu"])
def test_all_artifacts_give_nearly_the_same(encoder, colbert_bundle, artifact):
    other = Encoder.load(colbert_bundle, artifact=artifact, threads=1)
    for task in ("query", "document", None):
        for one, two in zip(vectors_of(encoder, task), vectors_of(other, task), strict=True):
            assert one.shape == two.shape
            np.testing.assert_allclose(one, two, atol=1e-4 if artifact.startswith("fp32") else 0.2)


def test_queries_are_expanded_and_documents_are_not(encoder):
    assert {len(each) for each in vectors_of(encoder, "query")} == {16}
    documents = vectors_of(encoder, "document")
    assert len(documents[1]) < len(documents[0]) < 16
    assert max(map(len, documents)) <= 40
    np.testing.assert_allclose(np.linalg.norm(documents[0], axis=1), 1, atol=1e-5)


def test_one_text_is_what_it_is_among_others(encoder):
    one = encoder.encode_outputs(TEXTS[0], ONLY, task="query").multi_vector
    assert one.tobytes() == vectors_of(encoder, "query")[0].tobytes()


def test_another_prompt_takes_the_place_of_the_tasks_own(encoder):
    own = encoder.encode_outputs("hello", ONLY, task="document", prompt="text: ").multi_vector
    assert own.tobytes() == encoder.encode_outputs("hello", ONLY, task="document").multi_vector.tobytes()
    none = encoder.encode_outputs("hello", ONLY, task="document", prompt="").multi_vector
    assert (len(none), len(own)) == (3, 4)  # the colon is skipped


def test_long_texts_have_the_length_of_their_task(encoder):
    long = "hello " * 50
    with pytest.raises(TextTooLongError, match="the model takes 16"):
        encoder.encode_outputs(long, ONLY, task="query", truncation="error")
    with pytest.raises(TextTooLongError, match="the model takes 40"):
        encoder.encode_outputs(long, ONLY, task="document", truncation="error")
    encoder.encode_outputs(long, ONLY, truncation="error")


def test_max_sim_is_the_mean_of_what_sentence_transformers_sums(encoder, colbert_checkpoint):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    original = sentence_transformers.MultiVectorEncoder(str(colbert_checkpoint), device="cpu")
    expected = original.similarity(original.encode_query(TEXTS), original.encode_document(TEXTS)).numpy()
    queries, documents = vectors_of(encoder, "query"), vectors_of(encoder, "document")
    counts = np.array([[len(each)] for each in queries])
    np.testing.assert_allclose(max_sim_scores(queries, documents) * counts, expected, atol=1e-3)
    assert max_sim(queries[0], documents[2]) * 16 == pytest.approx(expected[0, 2], abs=1e-3)


def test_texts_without_vectors_score_zero():
    some, none = np.ones((2, 3), np.float32), np.empty((0, 3), np.float32)
    assert max_sim_scores([some, none], [none, some]).tolist() == [[0, 3], [0, 0]]
    assert max_sim_scores([none]).tolist() == [[0]]


def test_there_is_no_vector_of_a_text(encoder):
    for encode in (
        lambda: encoder.encode("text"),
        lambda: encoder.encode(["text"]),
        lambda: encoder.encode_chunks("text"),
        lambda: list(encoder.encode_iter(["text"])),
        lambda: asyncio.run(_async_encode(encoder)),
    ):
        with pytest.raises(OptionError, match=r'use encode_outputs\(texts, outputs=\["multi_vector"\]\)'):
            encode()
    with pytest.raises(OptionError, match="gives no dense output; it gives: multi_vector"):
        encoder.encode_outputs("text", ["dense", "multi_vector"])
    assert encoder.info["outputs"] == ["multi_vector"]
    assert "multi_vector outputs" in repr(encoder)


async def _async_encode(encoder):
    async with AsyncEncoder(encoder) as scheduler:
        return await scheduler.encode("text")


def test_an_unknown_task_is_refused(encoder):
    with pytest.raises(OptionError, match="task='passage' is unknown; use one of query, document"):
        encoder.encode_outputs("text", ONLY, task="passage")


def test_the_scheduler_gives_the_same_bytes(encoder):
    async def found(task):
        async with AsyncEncoder(encoder) as scheduler:
            await scheduler.warm_up()
            return await scheduler.encode_outputs(TEXTS, ONLY, task=task)

    for task in ("query", "document", None):
        both = asyncio.run(found(task)).multi_vector, vectors_of(encoder, task)
        assert len({b"".join(each.tobytes() for each in some) for some in both}) == 1


def test_the_engine_checks_how_many_tokens_are_attended(colbert_bundle):
    engine = Encoder.load(colbert_bundle, artifact="fp32-native")._backend
    ids = [np.array([101, 5, 102, 103], np.int32), np.empty(0, np.int32)]
    vectors = [each.vectors for each in engine.run_outputs(ids, None, False, True, [3, 0])[1]]
    assert [len(each) for each in vectors] == [4, 0]
    alone = engine.run_outputs([ids[0][:3]], None, False, True)[1][0].vectors
    assert vectors[0][:3].tobytes() == alone.tobytes()
    for wrong in ([0, 0], [5, 0], [-1, 0], [3, 1]):
        with pytest.raises(ValueError, match="attended"):
            engine.run_outputs(ids, None, False, True, wrong)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda query: query["expansion"].update(length=1 << 40), "an expansion to 1099511627776 tokens"),
        (lambda query: query["expansion"].update(token_id=-1), "with the token -1"),
        (lambda query: query.update(max_length=0), "max_length 0 of a task"),
        (lambda query: query.update(other=1), "other"),
    ],
)
def test_a_manifest_with_other_settings_is_refused(colbert_bundle, tmp_path, change, problem):
    manifest = read_json(colbert_bundle / "manifest.json")
    change(manifest["token_outputs"]["multi_vector"]["query"])
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(BundleError, match=problem):
        Bundle.open(tmp_path)


LENGTHS = [(1, 1), (2, 40), (9, 70), (17, 20), (40, 100), (100, 110), (64, 64), (65, 128)]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_tokens_that_are_not_attended_change_no_other_byte(colbert_bundle, precision, instruction_set):
    file = colbert_bundle / "native" / f"model_{precision}_native.safetensors"
    random = np.random.default_rng(0)
    ids = [random.integers(0, 2000, tokens).astype(np.int32) for _, tokens in LENGTHS]
    attended = [count for count, _ in LENGTHS]
    engine = NativeCpu(file, 1, instruction_set=instruction_set)
    before = engine.run_outputs(
        [each[:count] for each, count in zip(ids, attended, strict=True)], None, False
    )[1]
    alone = [
        engine.run_outputs([one], None, False, True, [n])[1][0] for one, n in zip(ids, attended, strict=True)
    ]
    for first, whole, count in zip(before, alone, attended, strict=True):
        assert whole.vectors[:count].tobytes() == first.vectors.tobytes()
        assert np.isfinite(whole.vectors).all()
    for threads in (2, 5):
        engine = NativeCpu(file, threads, instruction_set=instruction_set)
        together = engine.run_outputs(ids, None, False, True, attended)[1]
        assert [each.vectors.tobytes() for each in together] == [each.vectors.tobytes() for each in alone]


def test_the_c_interface_names_what_to_use(colbert_bundle):
    model = CModel(colbert_bundle)
    with pytest.raises(CBundleError, match=r"gives outputs of tokens, .* use m3e_run_outputs") as caught:
        model.encode(["text"])
    assert caught.value.code == ARGUMENT
    assert model.functions.m3e_vector_size(model.handle, None) == 0
