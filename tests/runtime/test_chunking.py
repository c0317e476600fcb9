"""Chunks cover a text, fit the limit, and end at sentences, whatever the text holds."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import regex

from families import write_byte_level_bpe, write_unigram, write_wordpiece
from m3e_runtime.chunking import Chunk, Chunker, ChunkOptions
from m3e_runtime.errors import OptionError, TextTooLongError
from m3e_runtime.tokenization import TextTokenizer
from strange_texts import generated

COUNT = 10_000
LIMIT = 48
SENTENCES = (
    *("今天天气很好。", "我们去公园散步吧！", "“真的吗？”他问道……", "好的；走吧，没有问题。", "３．１４\r\n"),
    *(" It costs 3.14 dollars.", ' "Really?" she asked.', " He left (at last!).", "\r\n", "\n\n"),
    *("👩‍👩‍👧‍👦👍🏽🏳️‍🌈🇩🇪🇫🇷", "e\u0301a\u0308o\u0302", " \u0301", "हिन्दी क्षेत्र।", "각\u1100\u1161\u11a8"),
    *("กำลัง", "字" * 90, "word " * 60, "🇨🇳" * 40),
)


def long_texts(count: int) -> list[str]:
    """Texts of one to twelve sentences, many of strange characters, most of them longer than a chunk."""
    chance = random.Random(count)
    strange = generated(count)
    kinds = (SENTENCES, strange)
    return [
        "".join(chance.choice(chance.choice(kinds)) for _ in range(chance.randint(1, 12)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, TextTokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    written = {
        "WordPiece": write_wordpiece(folder / "wordpiece", lower_case=True),
        "byte-level": write_byte_level_bpe(folder / "byte-level"),
        "Unigram": write_unigram(folder / "unigram"),
    }
    return {name: TextTokenizer.from_file(it / "tokenizer.json", 512) for name, it in written.items()}


NAMES = ("WordPiece", "byte-level", "Unigram")


def chunks_of(tokenizer: TextTokenizer, text: str, prompt: str = "", **options: int) -> list[Chunk]:
    return next(Chunker(tokenizer, ChunkOptions(**options)).chunks_of_each([text], prompt))


def check(tokenizer: TextTokenizer, text: str, prompt: str, chunks: list[Chunk]) -> None:
    borders = {0, len(text), *(found.start() for found in regex.finditer(r"\X", text))}
    covered = 0
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        assert text[covered : chunk.start].strip() == ""
        assert before is None or (before.start < chunk.start and before.end < chunk.end)
        assert {chunk.start, chunk.end} <= borders
        assert chunk.token_ids.tolist() == tokenizer.encode(prompt + text[chunk.start : chunk.end]).tolist()
        assert len(chunk.token_ids) <= LIMIT
        covered = chunk.end
    assert text[covered:].strip() == ""


@pytest.mark.parametrize(
    "count", [COUNT // 10, pytest.param(COUNT, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize(
    ("name", "overlap", "prompt"), [(NAMES[0], 0, "问题: "), (NAMES[1], 10, ""), (NAMES[2], 7, "")]
)
def test_chunks_cover_texts_and_fit(tokenizers, name, overlap, prompt, count) -> None:
    texts, tokenizer = long_texts(count), tokenizers[name]
    chunker = Chunker(tokenizer, ChunkOptions(LIMIT, overlap))
    found = list(chunker.chunks_of_each(texts, prompt))
    assert sum(len(chunks) > 1 for chunks in found) > count // 4
    for text, chunks in zip(texts, found, strict=True):
        check(tokenizer, text, prompt, chunks)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_fits_is_one_chunk_as_it_is(tokenizers, name) -> None:
    for text in ("", " ", "短", "  今天天气很好。\n"):
        (chunk,) = chunks_of(tokenizers[name], text)
        assert (chunk.start, chunk.end) == (0, len(text))
        assert chunk.token_ids.tolist() == tokenizers[name].encode(text).tolist()


def texts_of(text: str, chunks: list[Chunk]) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in chunks]


def test_chunks_end_at_sentences_with_their_closing_marks(tokenizers) -> None:
    text = "今天天气很好。我们去公园吧！“真的吗？”他问道……（好的。）走吧；没有问题。"
    found = texts_of(text, chunks_of(tokenizers["WordPiece"], text, tokens=16))
    assert found == [
        "今天天气很好。",
        "我们去公园吧！“真的吗？”",
        "他问道……（好的。）走吧；",
        "没有问题。",
    ]
    text = 'It costs 3.14 dollars (a lot). "Really?" asked J. Doe. He left.\nThen she did.'
    found = texts_of(text, chunks_of(tokenizers["byte-level"], text, tokens=64))
    assert all(each[-1] in '.)"' for each in found)


def test_a_long_sentence_is_divided_behind_clauses_and_words_first(tokenizers) -> None:
    text = "我们去公园散步，" * 20
    assert all(
        each.endswith("，") for each in texts_of(text, chunks_of(tokenizers["WordPiece"], text, tokens=40))
    )
    text = "word " * 300
    assert {each[-4:] for each in texts_of(text, chunks_of(tokenizers["WordPiece"], text, tokens=40))} == {
        "word"
    }


def test_a_chunk_repeats_the_end_of_the_one_before_it(tokenizers) -> None:
    text = "".join(f"第{number}句话在这里。" for number in range(60))
    tokenizer = tokenizers["WordPiece"]
    chunks = chunks_of(tokenizer, text, tokens=60, overlap=12)
    for before, after in pairwise(chunks):
        repeated = text[after.start : before.end]
        assert repeated.startswith("第")
        assert repeated.endswith("。")
        assert len(tokenizer.encode(repeated)) <= 12 + tokenizer.special_tokens


def test_a_cluster_that_is_longer_than_a_chunk_is_divided_between_code_points(tokenizers) -> None:
    text = "a" + "\u0301" * 400
    chunks = chunks_of(tokenizers["byte-level"], text, tokens=LIMIT)
    assert "".join(texts_of(text, chunks)) == text
    assert max(len(chunk.token_ids) for chunk in chunks) <= LIMIT


def test_a_character_that_is_longer_than_a_chunk_is_an_error(tokenizers) -> None:
    with pytest.raises(TextTooLongError, match=r"text 1: the character at 5 has \d tokens"):
        list(Chunker(tokenizers["byte-level"], ChunkOptions(4)).chunks_of_each(["a", "a a a𠀀"]))


def test_only_white_space_that_does_not_fit_is_one_empty_chunk(tokenizers) -> None:
    (chunk,) = chunks_of(tokenizers["byte-level"], "\n" * 4000, tokens=LIMIT)
    assert (chunk.start, chunk.end) == (0, 0)


def test_long_runs_take_linear_time(tokenizers) -> None:
    """Each would take minutes if a pattern looked at a run more than once."""
    for run in (" ", ".", ",", "-  ", "\u0301", "🇨", "\r\n", "!)", "。”"):
        text = "a" + run * 200_000 + "b" * 3000 + "。" + "好" * 600
        assert chunks_of(tokenizers["WordPiece"], text, tokens=LIMIT)[-1].end == len(text)


def test_options_out_of_range_are_refused(tokenizers) -> None:
    tokenizer = tokenizers["WordPiece"]
    for wrong in ({"tokens": 0}, {"tokens": 513}, {"tokens": "9"}, {"overlap": -1}, {"overlap": 0.5}):
        with pytest.raises(OptionError):
            Chunker(tokenizer, ChunkOptions(**wrong))
    with pytest.raises(OptionError, match="no room for text beside"):
        chunks_of(tokenizer, "字" * 100, "问题问题问题问题", tokens=8)
    with pytest.raises(OptionError, match="at most half of the 8 tokens"):
        chunks_of(tokenizer, "字" * 100, tokens=10, overlap=5)
