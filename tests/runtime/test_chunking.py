"""Chunks cover a text, fit the limit, and end at sentences, whatever the text holds."""

from __future__ import annotations

import random

import pytest
import regex

from families import write_byte_level_bpe, write_unigram, write_wordpiece
from m3e_runtime.chunking import Chunk, Chunker, ChunkOptions
from m3e_runtime.chunking.graphemes import is_cluster_border
from m3e_runtime.errors import InvalidTextError, OptionError, TextTooLongError
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
