"""What was cut is known: errors, counts, and chunks instead."""

from __future__ import annotations

import logging

import pytest

from m3e_runtime import ChunkOptions, Encoder, InvalidTextError, OptionError, TextTooLongError

LONG = "今天天气很好。我们去公园散步吧！" * 60


@pytest.fixture
def tiny(tiny_bundle):
    with_counts_of_its_own = Encoder.load(tiny_bundle, artifact="fp32-native", verify=False)
    yield with_counts_of_its_own
    with_counts_of_its_own.close()


def test_cut_texts_are_counted_and_the_first_cause_one_warning(tiny, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        tiny.encode(["短", LONG, LONG])
        tiny.encode(LONG)
        tiny.encode_tokens([LONG])
        list(tiny.encode_iter(["短", LONG]))
    assert tiny.info["truncated"] == 5
    (record,) = caplog.records
    assert record.getMessage().startswith(f"2 of 3 texts have more than {tiny.max_seq_length} tokens")


def test_a_text_of_exactly_the_limit_is_not_cut(tiny) -> None:
    room = tiny.max_seq_length - tiny.tokenizer.special_tokens
    assert tiny.find_truncated(["字" * room, "字" * (room + 1)]).tolist() == [False, True]
    assert tiny.find_truncated(["字" * room], prompt="字").tolist() == [True]
    tiny.encode("字" * room)
    assert tiny.info["truncated"] == 0


def test_error_names_the_first_text_its_tokens_and_the_limit(tiny) -> None:
    tokens = 16 * 60 + 2
    texts = ["短"] * 9000 + [LONG, LONG]
    for error in (TextTooLongError, InvalidTextError, ValueError):
        with pytest.raises(error, match=f"text 9000 has {tokens} tokens, .* takes {tiny.max_seq_length}"):
            tiny.encode(texts, truncation="error")
    with pytest.raises(TextTooLongError, match="text 0 has"):
        tiny.encode(LONG, truncation="error")
    assert tiny.encode(["短"], truncation="error").tobytes() == tiny.encode(["短"]).tobytes()


def test_unknown_values_are_refused(tiny) -> None:
    with pytest.raises(OptionError, match="truncation='chop' is unknown; use one of cut, error, chunk"):
        tiny.encode("a", truncation="chop")
    with pytest.raises(OptionError, match="chunking is for"):
        tiny.encode("a", chunking=ChunkOptions(32))


def test_chunks_have_the_vectors_of_their_texts(tiny) -> None:
    options = {"normalize_embeddings": True, "truncate_dim": 16, "precision": "float16"}
    texts = [LONG, "短", "", LONG + "\r\nthe end."]
    found = tiny.encode(texts, prompt="问题：", truncation="chunk", **options)
    assert [len(each) for each in found] == [2, 1, 1, 2]
    for text, each in zip(texts, found, strict=True):
        assert each.vectors.tobytes() == tiny.encode(each.texts(text), prompt="问题：", **options).tobytes()
    assert tiny.info["truncated"] == 0


def test_one_text_gives_one_result(tiny) -> None:
    (listed,) = tiny.encode_chunks([LONG], chunking=ChunkOptions(100, 10))
    alone = tiny.encode_chunks(LONG, chunking=ChunkOptions(100, 10))
    assert alone.vectors.tobytes() == listed.vectors.tobytes()
    assert (alone.start.tolist(), alone.end.tolist()) == (listed.start.tolist(), listed.end.tolist())
    assert tiny.encode_chunks([]) == []


def test_an_invalid_text_is_named_by_its_place(tiny) -> None:
    for call in (tiny.encode_chunks, tiny.find_truncated):
        with pytest.raises(InvalidTextError, match="text 2000 holds a lone surrogate"):
            call(["a"] * 2000 + ["\ud800"])


def test_prompts_outside_the_pooling_stay_outside_in_chunks(unpooled_bundle) -> None:
    encoder = Encoder.load(unpooled_bundle, verify=False)
    found = encoder.encode_chunks(LONG, prompt="问题：", chunking=ChunkOptions(64))
    assert found.vectors.tobytes() == encoder.encode(found.texts(LONG), prompt="问题：").tobytes()


def test_the_warning_names_what_every_method_and_model_has(tiny, colbert_bundle, caplog) -> None:
    """Not every method that cuts texts takes ``truncation``, and not every model gives dense vectors."""
    late = Encoder.load(colbert_bundle, artifact="fp32-native", verify=False)
    with caplog.at_level(logging.WARNING):
        tiny.encode_tokens([LONG])
        late.encode_outputs([LONG], ["multi_vector"], task="query")
    dense, other = (record.getMessage() for record in caplog.records)
    assert "find_truncated() says which, encode_chunks() gives dense vectors of all their parts" in dense
    assert 'encode(truncation="error") rejects' in dense
    assert "chunk" not in other
    assert 'encode_outputs(truncation="error") rejects them; divide them before' in other
    with pytest.raises(OptionError, match=r"use \"cut\" or \"error\" here; encode_chunks\(\) gives"):
        tiny.encode_outputs("a", ["dense"], truncation="chunk")
    with pytest.raises(OptionError, match=r"use \"cut\" or \"error\" here\."):
        late.encode_outputs("a", ["multi_vector"], truncation="chunk")


def test_texts_of_a_task_are_found_by_its_length_and_prompt(colbert_bundle) -> None:
    encoder = Encoder.load(colbert_bundle, artifact="fp32-native", verify=False)
    for task in ("query", "document", None):
        texts = ["word " * count for count in range(1, 60, 3)]
        before = encoder.info["truncated"]
        encoder.encode_outputs(texts, ["multi_vector"], task=task)
        counted = encoder.info["truncated"] - before
        assert encoder.find_truncated(texts, task=task).sum() == counted
        assert counted > 0 or task is None


@pytest.mark.parametrize(
    ("chunking", "message"),
    [
        (ChunkOptions(1), "chunks of 1 tokens have no room for text"),
        (ChunkOptions(2, late=True), "chunks of 2 tokens have no room for text"),
        (ChunkOptions(32, 16), "overlap=16: at most half of the 30 tokens"),
        (ChunkOptions(overlap=300), "overlap=300: at most half"),
        ({"tokens": 32}, "is dict, not ChunkOptions"),
        ({}, "is dict, not ChunkOptions"),
        (0, "is int, not ChunkOptions"),
    ],
)
def test_options_are_refused_whatever_the_texts_are(tiny, chunking, message) -> None:
    for text in (LONG, "短"):
        with pytest.raises(OptionError, match=message):
            tiny.encode_chunks([text], chunking=chunking)
    with pytest.raises(OptionError, match=message):
        tiny.encode([], truncation="chunk", chunking=chunking)
