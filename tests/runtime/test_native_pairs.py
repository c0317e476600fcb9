"""The engine tokenizes pairs of texts as the package tokenizers does with the truncation longest_first."""

from __future__ import annotations

import ctypes
import json
import random
from itertools import product

import pytest
from tokenizers import Tokenizer

import native_tokenizer
from native_tokenizer import ARGUMENT, UNSUPPORTED, NativeTokenizer, NativeTokenizerError
from post_processors import BERT, BYTE_LEVEL, POST_PROCESSORS, ROBERTA, TEMPLATE
from strange_texts import generated
from tokenizer_files import tokenizer_json, words
from tokenizer_kinds import KINDS, NEED_SENTENCEPIECE, make_kind

pytestmark = pytest.mark.skipif(
    native_tokenizer.missing() is not None, reason=str(native_tokenizer.missing())
)

SPLIT = {"type": "BertPreTokenizer"}
SECOND_FIRST = {
    **TEMPLATE,
    "pair": [
        {"SpecialToken": {"id": "[X]", "type_id": 3}},
        {"Sequence": {"id": "B", "type_id": 2}},
        {"SpecialToken": {"id": "[Y]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 1}},
    ],
}


def reference(content):
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def crate_pairs(crate, pairs, most):
    """Ids, types, and how many tokens were cut off."""
    crate.no_truncation()
    whole = [len(encoding) for encoding in crate.encode_batch(pairs)]
    crate.enable_truncation(most, strategy="longest_first")
    return [
        (encoding.ids, encoding.type_ids, length - len(encoding))
        for encoding, length in zip(crate.encode_batch(pairs), whole, strict=True)
    ]


def assert_same(native, crate, pairs, most):
    expected = crate_pairs(crate, pairs, most)
    found = native.encode_pairs(pairs, most)
    different = [each for each in zip(pairs, found, expected, strict=True) if each[1] != each[2]]
    assert not different, (
        f"{len(different)} of {len(pairs)} differ at {most}, first {min(different, key=len)!r}"
    )
    marked = [(ids, types, min(cut, 1)) for ids, types, cut in expected]
    assert native.encode_pairs(pairs, most, count=False) == marked


@pytest.fixture(scope="module")
def strings():
    return ["", " ", *generated(800)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "vocab" not in kind])
def test_every_kind_of_the_matrix(kind, tmp_path, strings):
    if kind in NEED_SENTENCEPIECE:
        pytest.importorskip("sentencepiece", reason="converting needs sentencepiece, in no extra")
    content = make_kind(kind, tmp_path / "model").to_str()
    native, crate, chance = NativeTokenizer(content), reference(content), random.Random(kind)
    assert native.pair_special_tokens in (3, 4)
    for most in range(native.pair_special_tokens, 65, 3):
        assert_same(
            native, crate, [(chance.choice(strings), chance.choice(strings)) for _ in range(40)], most
        )


@pytest.mark.parametrize("post_processor", [*POST_PROCESSORS, SECOND_FIRST], ids=str)
def test_truncation_at_every_length(post_processor):
    content = tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=post_processor)
    native, crate = NativeTokenizer(content), reference(content)
    pairs = [("a " * first, "b " * second) for first, second in product((*range(9), 20, 21), repeat=2)]
    special = len(crate.encode("", "").ids)
    assert native.pair_special_tokens == special
    for most in range(1, 25):
        if most >= special:
            assert_same(native, crate, pairs, most)
            continue
        with pytest.raises(NativeTokenizerError, match="the special tokens alone") as raised:
            native.encode_pairs([], most)
        assert raised.value.status == ARGUMENT


def test_without_a_limit_nothing_is_cut(strings):
    content = tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=BERT)
    pairs = list(zip(strings, reversed(strings), strict=True))
    assert NativeTokenizer(content).encode_pairs(pairs) == crate_pairs(reference(content), pairs, 10_000)


@pytest.mark.parametrize(
    "most", [102, 127, 512]
)  # the crate keeps all parts of what it cuts: small ones are many
def test_long_texts_are_cut_as_if_they_were_read_to_their_ends(most, minilm):
    content = (minilm / "tokenizer.json").read_text(encoding="utf-8")
    long = ["word " * 900, "世界" * 600, "word " * 901, "x" * 20_000, "not long", ""]
    assert_same(NativeTokenizer(content), reference(content), list(product(long, repeat=2)), most)


@pytest.mark.parametrize("most", [20, 67, 512])
def test_transformers_cuts_the_same(most, tiny_checkpoint, strings):
    from transformers import AutoTokenizer

    original = AutoTokenizer.from_pretrained(tiny_checkpoint)
    pairs = [*zip(strings[:200], strings[200:400], strict=True), ("query " * 30, "passage " * 900)]
    expected = original(*map(list, zip(*pairs, strict=True)), truncation="longest_first", max_length=most)
    found = NativeTokenizer(original.backend_tokenizer.to_str()).encode_pairs(pairs, most)
    assert [ids for ids, _, _ in found] == expected["input_ids"]
    assert [types for _, types, _ in found] == expected["token_type_ids"]


@pytest.mark.parametrize(
    ("post_processor", "named"),
    [
        ({**TEMPLATE, "pair": []}, "each text once"),
        ({**TEMPLATE, "pair": TEMPLATE["pair"][:1]}, "each text once"),
        ({**TEMPLATE, "pair": TEMPLATE["pair"] * 2}, "each text once"),
        ({**TEMPLATE, "pair": [{"SpecialToken": {"id": "[Z]", "type_id": 0}}]}, r"\[Z\]"),
        ({**TEMPLATE, "pair": [{"Sequence": {"id": "C", "type_id": 0}}]}, "unknown text"),
        ({**TEMPLATE, "pair": [{"Sequence": {"id": "A", "type_id": -1}}]}, "impossible type"),
        ({**TEMPLATE, "pair": [{"Sequence": {"id": "A"}}]}, "type_id"),
        (
            {"type": "Sequence", "processors": [{**TEMPLATE, "single": [TEMPLATE["single"][1]]}, BERT]},
            "two that change pairs",
        ),
    ],
)
def test_pairs_that_cannot_be_made_are_refused_by_name_and_single_texts_are_not(post_processor, named):
    content = tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=post_processor)
    native = NativeTokenizer(content)
    assert native.pair_special_tokens == -1
    with pytest.raises(NativeTokenizerError, match=named) as raised:
        native.encode_pairs([("a", "b")])
    assert raised.value.status == UNSUPPORTED
    plain = {key: part for key, part in post_processor.items() if key != "pair"} | {"pair": TEMPLATE["pair"]}
    expected = reference(tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=plain))
    assert native.encode("a b") == expected.encode("a b").ids


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_has_the_pairs_in_their_order(threads, strings):
    content = tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=ROBERTA)
    native, chance = NativeTokenizer(content, threads), random.Random(threads)
    queries = strings[:20] * 300
    pairs = [(query, chance.choice(strings) * 3) for query in sorted(queries)]
    assert native.encode_pairs(pairs, 9) == [native.encode_pairs([pair], 9)[0] for pair in pairs]
    assert native.encode_pairs([]) == []


@pytest.mark.parametrize(("place", "named"), [(0, "first"), (1, "second")])
def test_text_that_is_not_utf8_is_named(place, named):
    native = NativeTokenizer(tokenizer_json(words("abc"), post_processor=BYTE_LEVEL), 2)
    damaged = [b"a", b"b"]
    damaged[place] = b"\xff"
    with pytest.raises(NativeTokenizerError, match=f"pair 2: the {named} text is not valid UTF-8") as raised:
        native.encode_pairs([(b"a", b"b"), (b"a", b"c"), tuple(damaged), (b"\xff", b"")])
    assert raised.value.status == ARGUMENT


def test_null_is_refused_where_it_means_nothing():
    library, native = native_tokenizer.library(), NativeTokenizer(tokenizer_json(words("abc")))
    texts, nulls = (ctypes.c_char_p * 1)(b"a"), (ctypes.c_char_p * 1)(None)
    lengths, pairs = (ctypes.c_size_t * 1)(1), ctypes.byref(native_tokenizer.Pairs())
    for arguments in (
        (None, texts, lengths, texts, lengths, 1, 0, pairs),
        (native.handle, None, lengths, texts, lengths, 1, 0, pairs),
        (native.handle, texts, None, texts, lengths, 1, 0, pairs),
        (native.handle, texts, lengths, None, lengths, 1, 0, pairs),
        (native.handle, texts, lengths, texts, None, 1, 0, pairs),
        (native.handle, texts, lengths, nulls, lengths, 1, 0, pairs),
        (native.handle, texts, lengths, texts, lengths, 1, 0, None),
    ):
        message = ctypes.create_string_buffer(512)
        assert library.m3e_tokenize_pairs(*arguments, message) == ARGUMENT
        assert message.value.endswith(b"is NULL")
    library.m3e_pairs_free(None)


def test_a_template_may_stand_in_any_order_of_its_members():
    turned = dict(reversed(SECOND_FIRST.items()))
    content = tokenizer_json(words("abc"), pre_tokenizer=SPLIT, post_processor=turned)
    assert json.loads(content)["post_processor"]["type"] == "TemplateProcessing"
    assert_same(NativeTokenizer(content), reference(content), [("a b", "c")], 9)
