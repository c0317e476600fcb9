"""The engine's models of a tokenizer compute what the package tokenizers computes."""

from __future__ import annotations

import ctypes
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from native_models import NativeModel, NativeModelError, build, compiler, crate, crate_accepts, read_number
from random_models import MODELS, random_text, random_words

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")

WORD_PIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "é中": 3, "##😀": 4, "ab": 5},
}
WORD_LEVEL = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 7}}
BPE = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
    "vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3, "<0x63>": 4, "u": 5, "##b": 6},
    "merges": ["a b", "ab a"],
}
UNIGRAM = {
    "type": "Unigram",
    "unk_id": 0,
    "vocab": [["<unk>", 0], ["a", -1.5], ["ab", -2], ["<0x63>", -9.25]],
    "byte_fallback": False,
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("models"))


@pytest.fixture
def native(library: ctypes.CDLL) -> Callable[[Any], NativeModel]:
    return lambda model: NativeModel(library, model)


def changed(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """``model`` with other members; those that are ``...`` are left out."""
    return {name: value for name, value in {**model, **changes}.items() if value is not ...}


def outcome(tokenize: Callable[[str], list[int]], word: str) -> list[int] | str:
    """The ids, or that there are none: the unknown token may be missing."""
    try:
        return tokenize(word)
    except Exception:
        return "refused"


def expect_same_ids(native: NativeModel, text: Any, words: list[str]) -> None:
    expected = crate(text)
    assert len(native) == expected.get_vocab_size(False)
    for word in words:
        ids = outcome(lambda word: [token.id for token in expected.model.tokenize(word)], word)
        assert outcome(native.tokenize, word) == ids, (word, text)
        assert native.id_of(word) == expected.token_to_id(word), (word, text)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("seed", range(4))
def test_random_models(native: Callable[[Any], NativeModel], kind: str, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        text, letters = random_text(rng, kind)
        vocabulary = json.loads(text)["vocab"]
        tokens = list(vocabulary) if isinstance(vocabulary, dict) else [token for token, _ in vocabulary]
        words = random_words(rng, letters) + tokens[:50]
        expect_same_ids(native(text), text, words)


@pytest.mark.parametrize("kind", MODELS)
def test_stopping_early_changes_no_id(native: Callable[[Any], NativeModel], kind: str) -> None:
    rng = random.Random(7)
    for _ in range(20):
        text, letters = random_text(rng, kind)
        model = native(text)
        for word in random_words(rng, letters):
            ids = outcome(model.tokenize, word)
            if ids == "refused":
                continue
            for most in (1, 2, 5):
                some = model.tokenize(word, most)
                assert some == ids[: len(some)]
                assert len(some) >= min(most, len(ids))


@pytest.mark.parametrize(
    ("model", "letters"), [(BPE, "ab"), (UNIGRAM, "abx"), (changed(UNIGRAM, byte_fallback=True), "abcd")]
)
def test_a_long_piece(native: Callable[[Any], NativeModel], model: dict[str, Any], letters: str) -> None:
    word = "".join(random.Random(1).choices(letters, k=100_000))
    expect_same_ids(native(model), model, [word])


ACCEPTED: dict[str, Any] = {
    "the last of equal members": json.dumps(WORD_LEVEL)[:-1] + ',"vocab":{"[UNK]":3}}',
    "the last of equal tokens": '{"type":"WordLevel","unk_token":"u","vocab":{"u":1,"a":2,"a":3}}',
    "escapes": '{"type":"WordLevel","unk_token":"\\u0075","vocab":{"\\ud83d\\ude00":2,"\\n\\u0000\\/":3}}',
    "an unknown member": changed(WORD_PIECE, other=[{"a": [None, -1.5e3]}]),
    "deep nesting": json.dumps(WORD_LEVEL)[:-1] + ',"other":' + "[" * 125 + "]" * 125 + "}",
    "no token": changed(WORD_PIECE, vocab={}),
    "no type: WordPiece": changed(WORD_PIECE, type=...),
    "no type: WordLevel": changed(WORD_LEVEL, type=...),
    "no type: BPE": changed(BPE, type=...),
    "no type: Unigram": changed(UNIGRAM, type=...),
    "no options: BPE": {"type": "BPE", "vocab": BPE["vocab"], "merges": []},
    "null for false": changed(BPE, fuse_unk=None, byte_fallback=None, ignore_merges=None),
    "a prefix that is not there": changed(BPE, continuing_subword_prefix="xx", merges=[["a", "##b"]]),
    "a prefix that is all": changed(BPE, continuing_subword_prefix="b", merges=[["a", "b"]]),
    "the first line of a file": changed(BPE, merges=["#version: 0.2", "a b"]),
    "a merge that leads back": changed(BPE, vocab={"a": 0, "b": 1, "ab": 0}, merges=["a b"]),
    "a dropout of nothing": changed(BPE, dropout=1e-50),
    "an unknown token that is missing": changed(BPE, unk_token="missing"),
    "unknown characters wait for a known one": changed(BPE, byte_fallback=True, unk_token="u"),
    "no unk_id": changed(UNIGRAM, unk_id=None),
    "no piece": changed(UNIGRAM, unk_id=None, vocab=[]),
    "an empty piece": changed(UNIGRAM, vocab=[["", -1], ["a", -2]]),
    "unknown characters that are a token together": changed(
        UNIGRAM, vocab=[["u", 25], ["xc", 25], ["<0x78>", 30], ["<0x63>", 30]], byte_fallback=True
    ),
    "huge scores": changed(UNIGRAM, vocab=[["u", -1e308], ["a", -1e308], ["ab", 1e308], ["b", 1e308]]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_crate_accepts(native: Callable[[Any], NativeModel], name: str) -> None:
    words = ["", "a", "b", "ab", "abab", "aab", "u", "xc", "cxxcx", "é中😀", "😀", "\n\0/", "##b"]
    expect_same_ids(native(ACCEPTED[name]), ACCEPTED[name], words)


REFUSED: dict[str, Any] = {
    "not an object": "[]",
    "nothing": "",
    "something behind": json.dumps(WORD_LEVEL) + "x",
    "two types": '{"type":"WordLevel",' + json.dumps(WORD_LEVEL)[1:],
    "a type that is null": changed(WORD_LEVEL, type=None),
    "deeper nesting": json.dumps(WORD_LEVEL)[:-1] + ',"other":' + "[" * 126 + "]" * 126 + "}",
    "very deep nesting": json.dumps(WORD_LEVEL)[:-1] + ',"other":' + "[" * 10**6,
    "half of a surrogate pair": '{"type":"WordLevel","unk_token":"u","vocab":{"\\ud83d":1}}',
    "the other half": '{"type":"WordLevel","unk_token":"u","vocab":{"\\ude00":1}}',
    "an unknown escape": '{"type":"WordLevel","unk_token":"u","vocab":{"\\x":1}}',
    "a control character": '{"type":"WordLevel","unk_token":"u","vocab":{"\t":1}}',
    "a negative id": changed(WORD_LEVEL, vocab={"a": -1}),
    "a fraction for an id": changed(WORD_LEVEL, vocab={"a": 1.0}),
    "a string for an id": changed(WORD_LEVEL, vocab={"a": "1"}),
    "an id above 32 bits": changed(WORD_LEVEL, vocab={"a": 2**32}),
    "an id above 64 bits": changed(WORD_LEVEL, vocab={"a": 2**64}),
    "a list for ids": changed(WORD_LEVEL, vocab=[["a", 1]]),
    "no vocab": changed(WORD_LEVEL, vocab=...),
    "a vocab that is null": changed(WORD_LEVEL, vocab=None),
    "no unk_token": changed(WORD_LEVEL, unk_token=...),
    "an unk_token that is null": changed(WORD_PIECE, unk_token=None),
    "no limit": changed(WORD_PIECE, max_input_chars_per_word=...),
    "a negative limit": changed(WORD_PIECE, max_input_chars_per_word=-1),
    "a fraction for a limit": changed(WORD_PIECE, max_input_chars_per_word=1.0),
    "no prefix": changed(WORD_PIECE, continuing_subword_prefix=...),
    "no merges": changed(BPE, merges=...),
    "merges that are null": changed(BPE, merges=None),
    "merges that are an object": changed(BPE, merges={}),
    "a merge of one": changed(BPE, merges=["a"]),
    "a merge of three": changed(BPE, merges=["a b a"]),
    "a pair of three": changed(BPE, merges=[["a", "b", "a"]]),
    "strings and pairs": changed(BPE, merges=["a b", ["a", "b"]]),
    "a merge of a missing token": changed(BPE, merges=["a x"]),
    "a merge to a missing token": changed(BPE, merges=["b a"]),
    "a merge to one longer than all": changed(BPE, merges=["aba aba"]),
    "a merge without the prefix": changed(BPE, continuing_subword_prefix="##"),
    "an impossible dropout": changed(BPE, dropout=1.5),
    "a number for a flag": changed(BPE, fuse_unk=1),
    "an unk_id that is missing": changed(UNIGRAM, unk_id=4),
    "an unk_id above all": changed(UNIGRAM, unk_id=2**63),
    "a negative unk_id": changed(UNIGRAM, unk_id=-1),
    "an unk_id of no piece": changed(UNIGRAM, vocab=[]),
    "a flag that is null": changed(UNIGRAM, byte_fallback=None),
    "a score that is not a number": '{"type":"Unigram","vocab":[["a",NaN]]}',
    "an infinite score": '{"type":"Unigram","vocab":[["a",1e400]]}',
    "a string for a score": changed(UNIGRAM, vocab=[["a", "-1"]]),
    "a piece without score": changed(UNIGRAM, vocab=[["a"]]),
    "a piece with two scores": changed(UNIGRAM, vocab=[["a", 1, 2]]),
    "ids for scores": changed(UNIGRAM, vocab={"a": 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_crate_refuses(native: Callable[[Any], NativeModel], name: str) -> None:
    assert not crate_accepts(REFUSED[name])
    with pytest.raises(NativeModelError) as caught:
        native(REFUSED[name])
    assert caught.value.kind == "format"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (changed(BPE, dropout=0.1), "dropout"),
        (changed(WORD_LEVEL, vocab={"a": 2**31 - 1}), "2147483646"),
        (changed(WORD_LEVEL, type="Other"), '"Other"'),
    ],
)
def test_what_is_not_supported(native: Callable[[Any], NativeModel], model: Any, words: str) -> None:
    with pytest.raises(NativeModelError, match=words) as caught:
        native(model)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("model", [WORD_PIECE, WORD_LEVEL, BPE, UNIGRAM])
def test_truncated_files(native: Callable[[Any], NativeModel], model: dict[str, Any]) -> None:
    text = json.dumps(model, ensure_ascii=False).encode()
    for size in range(len(text)):
        with pytest.raises(NativeModelError) as caught:
            native(text[:size])
        assert caught.value.kind == "format"


def damaged(rng: random.Random, text: bytes) -> Iterator[bytes]:
    for _ in range(2000):
        copy = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(copy))
            copy[at : at + rng.randint(0, 3)] = rng.choice(
                (b'"', b"\\", b"[", b"}", b"\xff", b"\x00", b"9", b"")
            )
        yield bytes(copy)


@pytest.mark.parametrize("model", [WORD_PIECE, WORD_LEVEL, BPE, UNIGRAM])
def test_damaged_files(native: Callable[[Any], NativeModel], model: dict[str, Any]) -> None:
    accepted = 0
    for text in damaged(random.Random(3), json.dumps(model, ensure_ascii=False).encode()):
        try:
            read = native(text)
        except NativeModelError:
            continue
        accepted += 1
        expect_same_ids(read, text.decode(), ["", "ab", "abab", "é中😀", "cab", "\0"])
    assert accepted


NUMBERS = [
    *("0", "-0", "1", "-1", "12345678901234567890", "18446744073709551615", "18446744073709551616", "1e22"),
    *("1e23", "9007199254740993.0", "5e-324", "2e-324", "1e-400", "0e999999999999", "1e-999999999999"),
    *("-1.7976931348623157e308", "2.2250738585072011e-308", "0.1E+1", "123456789012345678901234567890.5e-20"),
    *("-8.123456789012345678", "184467440737095516199.3", "0.000000000000000000001", "-13.103981018066406"),
    *("1.00000000000000011102230246251565404", "1e308", "100000000000000000000e288"),
]


def test_numbers_to_the_last_bit(library: ctypes.CDLL) -> None:
    rng = random.Random(0)
    texts = NUMBERS + [
        f"{-rng.random() * 10 ** rng.randint(-30, 30):.{rng.randint(0, 25)}e}" for _ in range(5000)
    ]
    model = '{"type":"Unigram","vocab":[' + ",".join(f'["{i}",{text}]' for i, text in enumerate(texts)) + "]}"
    scores = json.loads(crate(model).to_str())["model"]["vocab"]
    for text, (_, score) in zip(texts, scores, strict=True):
        assert repr(read_number(library, text)) == repr(float(score)), text


@pytest.mark.parametrize(
    "text", ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1e400", "1e99999999999", "0x1", "NaN"]
)
def test_what_is_no_number(library: ctypes.CDLL, text: str) -> None:
    with pytest.raises(Exception, match="line"):
        crate('{"type":"Unigram","vocab":[["a",' + text + "]]}")
    assert read_number(library, text) is None


def test_equal_sums_as_the_crate_rounds_them(native: Callable[[Any], NativeModel]) -> None:
    # 9007199254740993.0 becomes ...994, which the nearest double would not be.
    for score in ("9007199254740993.0", "9007199254740992", "9007199254740994", "9007199254740993"):
        text = (
            '{"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",4503599627370497],["aa",'
            + score
            + '],["b",0]]}'
        )
        expect_same_ids(native(text), text, ["aa", "aaa", "aab"])
