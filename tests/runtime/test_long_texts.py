"""A long text is cut before it is tokenized, and keeps the ids and the mark of being cut."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from families import (
    corpus,
    write_albert,
    write_byte_level_bpe,
    write_mpnet_wordpiece,
    write_unigram,
    write_wordpiece,
)
from m3e_runtime.long_texts import Shortener, Splits, Tails, special_tokens
from m3e_runtime.tokenization import TextTokenizer
from strange_texts import LOOK_ALIKES, generated


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    written = {
        "WordPiece, cased": write_wordpiece(folder / "cased", lower_case=False),
        "WordPiece, lower-cased": write_wordpiece(folder / "lower-cased", lower_case=True),
        "WordPiece, Chinese not split": write_wordpiece(folder / "not-split", lower_case=True),
        "MPNet's": write_mpnet_wordpiece(folder / "mpnet", lower_case=True),
        "byte-level": write_byte_level_bpe(folder / "byte-level"),
        "Unigram": write_unigram(folder / "unigram"),
        "Unigram, normalized": write_unigram(folder / "general", tokenizer_class="PreTrainedTokenizerFast"),
        "ALBERT's": write_albert(folder / "albert"),
    }
    made = {name: Tokenizer.from_file(str(each / "tokenizer.json")) for name, each in written.items()}
    made["WordPiece, Chinese not split"].normalizer = BertNormalizer(handle_chinese_chars=False)
    return made


NAMES = [
    *("WordPiece, cased", "WordPiece, lower-cased", "WordPiece, Chinese not split", "MPNet's"),
    *("byte-level", "Unigram", "Unigram, normalized", "ALBERT's"),
]


def long_texts(count: int) -> list[str]:
    """Texts of some hundred characters, many of them with one kind of character only, or with long runs."""
    chance = random.Random(count)
    strange = generated(count)
    words = [line.replace(" ", "") for line in corpus(count)]
    runs = (
        "好",
        "啊哈",
        "a",
        "ab",
        "1",
        " ",
        "\n",
        " \t",
        "\x00",
        "é",
        "e\u0301",
        "，",
        ".",
        "😀",
        "▁",
        "ß",
        "ﬁ",
    )

    def text() -> str:
        parts = chance.choices(strange, k=chance.randint(2, 30))
        if chance.random() < 0.5:
            parts.insert(chance.randrange(len(parts)), chance.choice(runs) * chance.randint(30, 300))
        if chance.random() < 0.5:
            parts.insert(chance.randrange(len(parts)), "".join(chance.choices(words, k=10)))
        if chance.random() < 0.3:
            parts.insert(chance.randrange(len(parts)), chance.choice(LOOK_ALIKES))
        return chance.choice(("", " ", "，")).join(parts)

    return [text() for _ in range(count)]


def outcome(tokenizer: Tokenizer, text: str) -> tuple[list[int], bool]:
    encoding = tokenizer.encode(text)
    return encoding.ids, bool(encoding.overflowing)


@pytest.mark.parametrize("longest", [16, 64, 200])
@pytest.mark.parametrize("name", NAMES)
def test_shortened_texts_keep_their_ids(name, longest, tokenizers):
    tokenizer = TextTokenizer.wrap(tokenizers[name], 12).tokenizer
    shortener = Shortener(tokenizer, 12, longest)
    shorter = 0
    for text in long_texts(2000):
        beginning = shortener.shorten(text)
        shorter += len(beginning) < len(text)
        assert outcome(tokenizer, beginning) == outcome(tokenizer, text), repr(text)
    assert shorter > 600  # of 2000


MILLION = 1_000_000
WORDS = "".join(corpus(200)).replace(" ", "")
HUGE = {
    "made-up words without spaces": WORDS * (MILLION // len(WORDS)),
    "Chinese": "今天天气很好，我们去公园玩吧。" * (MILLION // 15),
    "Chinese without punctuation": "今天天气很好我们去公园玩吧" * (MILLION // 13),
    "one ideograph": "好" * MILLION,
    "English": "The quick brown fox jumps over the lazy dog. " * (MILLION // 45),
    "lines": "你好\nhello\n" * (MILLION // 9),
    "one letter": "a" * MILLION,
    "digits": "0123456789" * (MILLION // 10),
    "spaces": " " * MILLION,
    "controls": "\x00" * MILLION,
    "emoji": "😀" * MILLION,
    "full stops": "。" * MILLION,
}


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("name", ["WordPiece, cased", "WordPiece, lower-cased", "byte-level", "Unigram"])
def test_what_huge_texts_cost(name, kind, tokenizers):
    tokenizer = TextTokenizer.wrap(tokenizers[name], 256)
    text = HUGE[kind]
    beginning = Shortener(tokenizer.tokenizer, 256).shorten(text)
    if name != "Unigram" or tokenizer.encode(text[:100_000]).size == 256:  # unknown characters are one token
        assert len(beginning) <= 100_000
    # The first 100,000 characters say what the first tokens are: none of these texts changes after that.
    assert outcome(tokenizer.tokenizer, beginning)[0] == outcome(tokenizer.tokenizer, text[:100_000])[0]


UNKNOWN = {
    "alone": "☃" * MILLION,
    "after a word": "hello " + "☃" * MILLION,
    "inside a word, at its end": "hello" + "☃" * MILLION + " again and again",
    "of many kinds": "".join(chr(0x20000 + i * 7919 % 40_000) for i in range(MILLION)),
    "by lines": ("☃" * 5000 + "\n") * (MILLION // 5000),
}


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("name", ["Unigram", "Unigram, normalized"])
def test_what_unigram_does_not_know_costs_little(name, kind, tokenizers):
    tokenizer = TextTokenizer.wrap(tokenizers[name], 256).tokenizer
    text = UNKNOWN[kind]
    beginning = Shortener(tokenizer, 256).shorten(text)
    assert len(beginning) < 400_000 if kind == "by lines" else len(beginning) < 3000
    assert outcome(tokenizer, beginning) == outcome(tokenizer, text)


def test_what_follows_unknown_characters_in_a_word_is_left_as_it_is(tokenizers):
    """Scores behind a million unknown tokens are sums in which little differences are lost."""
    shortener = Shortener(TextTokenizer.wrap(tokenizers["Unigram"], 256).tokenizer, 256)
    assert len(shortener.shorten("☃" * 100_000 + "hello")) > 100_000


@pytest.mark.parametrize(
    "characters",
    [
        *(
            "☃",
            "é☃",
            "☃\u0301",
            "\u1100\u1161",
            "\u3131\u314f",
            "가\u11a8",
            "\U0001f1e6\U0001f1e7",
            "👩\u200d👩",
        ),
        *(
            "ﬃ",
            "㌀",
            "½",
            "\u0d4e",
            "￰",
            "\ufffd",
            "\u00a0☃",
            "`☃",
            "▁☃",
            "☃<s>",
            "𠀀𠀁",
            "İ",
            "ẞ",
            "Ω",
            "\u09c7\u09be",
        ),
    ],
)
@pytest.mark.parametrize("name", ["Unigram", "Unigram, normalized", "ALBERT's"])
def test_runs_of_strange_characters_keep_their_ids(name, characters, tokenizers):
    tokenizer = TextTokenizer.wrap(tokenizers[name], 40).tokenizer
    shortener = Shortener(tokenizer, 40, 64)
    for before, after in (
        ("", ""),
        ("a ", " b"),
        ("ab", "\nb"),
        ("e", "\u0301 b"),
        ("", "b"),
        ("☃ ", "\u3000b"),
    ):
        text = before + characters * 3000 + after
        assert outcome(tokenizer, shortener.shorten(text)) == outcome(tokenizer, text)


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("name", NAMES)
def test_tokens_of_the_parts_are_those_of_the_text(name, size, tokenizers):
    tokenizer = tokenizers[name]
    tokenizer.no_truncation()
    splits = Splits(tokenizer)
    several = 0
    for text in long_texts(1000):
        parts = list(splits.parts(text, size))
        several += len(parts) > 1
        assert "".join(part for _, part in parts) == text
        assert ids_and_places(tokenizer, parts) == ids_and_places(tokenizer, [(0, text)]), repr(text)
    assert several > 300  # of 1000


@pytest.mark.parametrize("longest", [16, 200])
@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_text_is_kept_as_the_library_keeps_it(name, longest, tokenizers):
    tokenizer = TextTokenizer.wrap(tokenizers[name], 12).tokenizer
    tails = Tails(tokenizer, Splits(tokenizer), 12, longest)
    texts = long_texts(500)
    found = [tails.ids(text) for text in texts]
    tokenizer.enable_truncation(12, direction="left")
    for text, ids in zip(texts, found, strict=True):
        assert ids == tokenizer.encode(text).ids, repr(text)


def ids_and_places(tokenizer, parts):
    encodings = [(start, tokenizer.encode(part, add_special_tokens=False)) for start, part in parts]
    return [
        (number, start + place[0], start + place[1])
        for start, encoding in encodings
        for number, place in zip(encoding.ids, encoding.offsets, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_special_tokens_are_those_around_a_text(name, tokenizers):
    tokenizer = tokenizers[name]
    before, after = ([number for number, _ in side] for side in special_tokens(tokenizer))
    assert tokenizer.encode("", add_special_tokens=True).ids == [*before, *after]
    assert len(before) + len(after) == tokenizer.num_special_tokens_to_add(is_pair=False)
