"""Pairs as token ids: as the package tokenizers makes them, which transformers calls."""

import random

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from m3e_runtime import BundleError, InvalidTextError, OptionError
from m3e_runtime.pairs import PairTemplate, kept_tokens
from m3e_runtime.tokenization import TextTokenizer
from strange_texts import LOOK_ALIKES, generated
from tokenizer_kinds import make_kind

KINDS = ["WordPiece, cased, tokenizer.json", "byte-level BPE, tokenizer.json",
         "Unigram, XLMRobertaTokenizer, tokenizer.json"]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A ``tokenizer.json`` of each kind."""
    made = {}
    for number, name in enumerate(KINDS):
        folder = tmp_path_factory.mktemp(f"kind{number}")
        made[name] = folder / "saved.json"
        make_kind(name, folder).save(str(made[name]))
    return made


def pairs_of_texts(count=150):
    chosen = random.Random(3)
    texts = ["", *LOOK_ALIKES, *generated(150), *("word " * n for n in (3, 12, 30)), "字" * 20]
    return [(chosen.choice(texts), chosen.choice(texts)) for _ in range(count)]


def expected(file, max_length, pairs):
    """What the package itself gives."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    found = tokenizer.encode_batch(pairs)
    return [(each.ids, each.type_ids, bool(each.overflowing)) for each in found]


def listed(pairs):
    return [
        (ids.tolist(), types.tolist(), cut)
        for ids, types, cut in zip(pairs.ids, pairs.types, pairs.cut, strict=True)
    ]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("max_length", [5, 16, 17])
def test_pairs_are_those_of_the_package(name, native, max_length, files):
    pairs = pairs_of_texts()
    tokenizer = TextTokenizer.from_file(files[name], max_length, native=native)
    firsts, seconds = map(list, zip(*pairs, strict=True))
    found = tokenizer.encode_pairs_in_pieces(firsts, seconds)
    assert listed(found) == expected(files[name], max_length, pairs)
    assert {ids.dtype for ids in (*found.ids, *found.types)} == {np.dtype(np.int32)}


def cut_afterwards(tokenizer, room, pair):
    """The ids of a pair that is tokenized whole and cut by the rule."""
    whole = tokenizer.encode(*pair)
    texts = whole.sequence_ids
    most = kept_tokens(texts.count(0), texts.count(1), room - texts.count(None))
    starts = texts.index(0), texts.index(1)
    places = [place for place, of in enumerate(texts) if of is None or place - starts[of] < most[of]]
    return [whole.ids[place] for place in places]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_of_two_long_texts_the_longer_one_keeps_the_odd_token(name, native, files):
    """They are longer than what is tokenized whole, so that nobody has all their tokens."""
    tokenizer = TextTokenizer.from_file(files[name], 16, native=native)
    package = Tokenizer.from_file(str(files[name]))
    package.no_truncation()
    short, long = "some words, " * 1400, "other words " * 1600
    for room, *pair in ((16, long, short), (17, short, long), (17, long, short), (17, long, "query")):
        found = tokenizer.limited(room).encode_pairs([pair[0]], [pair[1]])
        assert found.ids[0].tolist() == cut_afterwards(package, room, pair)
        assert found.cut == [True]


def test_the_rule_for_every_small_size():
    """The package's rule, on texts of so many tokens of one letter."""
    tokenizer = Tokenizer(WordLevel({"a": 0, "[SEP]": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing("$A [SEP]", "$A [SEP] $B", [("[SEP]", 1)])
    for room in range(1, 7):
        tokenizer.enable_truncation(room + 1)
        for first in range(10):
            for second in range(10):
                ids = tokenizer.encode("a " * first, "a " * second).ids
                kept = ids.index(1), len(ids) - ids.index(1) - 1
                assert kept_tokens(first, second, room) == kept, (first, second, room)


def test_what_is_no_pair_is_told(files):
    tokenizer = TextTokenizer.from_file(files[KINDS[0]], 16)
    with pytest.raises(InvalidTextError, match="text 1 is int"):
        tokenizer.encode_pairs(["a"], [5])
    with pytest.raises(InvalidTextError, match="lone surrogate"):
        tokenizer.encode_pairs(["a"], ["\ud800"])
    with pytest.raises(OptionError, match="2 first texts and 1 second"):
        tokenizer.encode_pairs(["a", "b"], ["c"])
    with pytest.raises(OptionError, match="max_length=2 has no room for the 3"):
        tokenizer.limited(2).encode_pairs(["a"], ["b"])
    assert tokenizer.encode_pairs([], []) == ([], [], [])


def test_a_template_in_another_order_is_refused():
    tokenizer = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    tokenizer.post_processor = TemplateProcessing("$A", "$B $A", [])
    with pytest.raises(BundleError, match="one after the other"):
        PairTemplate.of(tokenizer)
    tokenizer.post_processor = TemplateProcessing("$A", "$A:3 $B:5", [])
    assert [each.tolist() for each in PairTemplate.of(tokenizer).types] == [[], [3], [], [5], []]
