"""The engine's tokenizer gives the ids of the package tokenizers, through the C interface."""

from __future__ import annotations

import ctypes
import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import native_tokenizer
from native_tokenizer import ARGUMENT, FILE, FORMAT, UNSUPPORTED, NativeTokenizer, NativeTokenizerError
from post_processors import POST_PROCESSORS, ROBERTA, TEMPLATE
from strange_texts import generated
from tokenizer_files import added_token, tokenizer_json, with_pieces_as_words, words
from tokenizer_kinds import KINDS, NEED_SENTENCEPIECE, make_kind

pytestmark = pytest.mark.skipif(
    native_tokenizer.missing() is not None, reason=str(native_tokenizer.missing())
)

M3E_SMALL = Path(__file__).parents[3] / "shared" / "checkpoints" / "m3e-small" / "tokenizer.json"
BERT = {"type": "BertPreTokenizer"}
FROM_ALL = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def strings() -> list[str]:
    return generated()


def reference(content: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def crate_ids(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def refuses_first(content):
    """Whether the file asks for a Metaspace that the engine does not have, and the engine says so."""
    try:
        NativeTokenizer(content)
    except NativeTokenizerError as error:
        known = 'Metaspace with prepend_scheme "first" after'
        if error.status != UNSUPPORTED or not str(error).startswith(known):
            raise
        return True
    return False


def assert_same(content, texts):
    """The same ids in a batch, and of each text alone."""
    expected = crate_ids(reference(content), texts)
    native = NativeTokenizer(content)
    for found in (native.encode_batch(texts), [native.encode(text) for text in texts]):
        different = [each for each in zip(texts, found, expected, strict=True) if each[1] != each[2]]
        assert not different, f"{len(different)} of {len(texts)} differ, first {min(different, key=len)!r}"


def content_of(kind, folder):
    if kind in NEED_SENTENCEPIECE:
        pytest.importorskip("sentencepiece", reason="converting needs sentencepiece, in no extra")
    return make_kind(kind, folder / "model").to_str()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_the_matrix(kind, tmp_path, strings):
    assert_same(content_of(kind, tmp_path), strings)


def test_the_real_tokenizer_of_minilm(minilm, strings):
    assert_same((minilm / "tokenizer.json").read_text(encoding="utf-8"), strings)


@pytest.mark.skipif(not M3E_SMALL.exists(), reason="the folder ../shared/checkpoints/m3e-small is absent")
def test_the_real_tokenizer_of_m3e_small(strings):
    assert_same(M3E_SMALL.read_text(encoding="utf-8"), strings)


# --- pre-tokenizers ---------------------------------------------------------------------------------------

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT2_SHORT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = GPT4.replace("{1,3}", "")
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PATTERNS = [
    *({"String": text} for text in (" ", "aa", "▁", ".")),
    *({"Regex": text} for text in (GPT2, GPT2_SHORT, GPT4, QWEN2, r"\s+", r"\s")),
]


def typed(name: str, **members):
    return st.fixed_dictionaries({"type": st.just(name), **members})


def metaspace(replacement, scheme, split, old):
    said = {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": split}
    return {**said, "add_prefix_space": scheme != "never"} if old else said


SPLITTING = st.one_of(
    *(typed(name) for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")),
    typed("CharDelimiterSplit", delimiter=st.sampled_from("a▁ ")),
    typed("Digits", individual_digits=st.booleans()),
    typed("Punctuation"),
    typed("Punctuation", behavior=st.sampled_from(BEHAVIORS)),
    typed(
        "Split",
        pattern=st.sampled_from(PATTERNS),
        behavior=st.sampled_from(BEHAVIORS),
        invert=st.booleans(),
    ),
)
SCHEMES = ["first", "never", "always"]
PRE_TOKENIZERS = st.recursive(
    st.one_of(
        SPLITTING,
        st.builds(metaspace, st.sampled_from("▁_ "), st.sampled_from(SCHEMES), st.booleans(), st.booleans()),
        typed(
            "ByteLevel", add_prefix_space=st.booleans(), trim_offsets=st.booleans(), use_regex=st.booleans()
        ),
    ),
    lambda steps: typed("Sequence", pretokenizers=st.lists(steps, max_size=3)),
    max_leaves=4,
)
SIGNIFICANT = " \t\n\r  aaAbs'tsSTrReEvVlLdDmM019.,-!▁_\u017f\u0301é½\u00a0\u3000\u2028世٣\x85"
TEXTS = st.lists(st.text(st.sampled_from(SIGNIFICANT), max_size=20), min_size=1, max_size=40)


@FROM_ALL
@given(PRE_TOKENIZERS, TEXTS)
def test_pre_tokenizers(pre_tokenizer, texts):
    content = with_pieces_as_words(pre_tokenizer, texts)
    if not refuses_first(content):
        assert_same(content, texts)


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        BERT,
        {"type": "Whitespace"},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        *({"type": "Split", "pattern": p, "behavior": "Isolated", "invert": False} for p in PATTERNS),
    ],
    ids=lambda each: str(each.get("pattern", each["type"])),
)
def test_pre_tokenizers_on_strange_texts(pre_tokenizer, strings):
    texts = strings[:3000]
    assert_same(with_pieces_as_words(pre_tokenizer, texts), texts)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"pre_tokenizer": {"type": "UnicodeScripts"}}, "UnicodeScripts"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 3}}, "FixedLength"),
        (
            {
                "pre_tokenizer": {
                    "type": "Split",
                    "pattern": {"Regex": "a|b"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            },
            r"a\|b",
        ),
        ({"version": "2.0"}, "2.0"),
        ({"something": 1}, "something"),
        ({"post_processor": {"type": "Other"}}, "Other"),
    ],
)
def test_what_is_not_implemented_is_named(part, named):
    with pytest.raises(NativeTokenizerError, match=named) as raised:
        NativeTokenizer(tokenizer_json(words(["a"]), **part))
    assert raised.value.status == UNSUPPORTED


# --- added tokens -----------------------------------------------------------------------------------------

ALPHABET = "ab AB_<>\t\u3000é世"
CHARACTERS = {
    "type": "BPE",
    "unk_token": "<unk>",
    "vocab": {"<unk>": 0, **{c: i + 1 for i, c in enumerate(ALPHABET + "▁")}, "ab": 40},
    "merges": [["a", "b"]],
}
ADDED = st.builds(
    added_token,
    st.text(st.sampled_from(ALPHABET), min_size=1, max_size=4),
    single_word=st.booleans(),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    normalized=st.booleans(),
    special=st.booleans(),
)


NORMALIZERS = [
    None,
    {"type": "Lowercase"},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
]


def mixed_texts(contents):
    """Texts that are full of ``contents``."""
    parts = st.one_of(st.sampled_from([*contents, *ALPHABET]), st.sampled_from(ALPHABET))
    return st.lists(st.lists(parts, max_size=8).map("".join), min_size=1, max_size=20)


@FROM_ALL
@given(
    st.lists(ADDED, max_size=6, unique_by=lambda token: token["content"].lower()),
    st.sampled_from(NORMALIZERS),
    st.sampled_from([None, *(metaspace("▁", scheme, True, False) for scheme in SCHEMES)]),
    st.data(),
)
def test_added_tokens(tokens, normalizer, pre_tokenizer, data):
    content = tokenizer_json(
        CHARACTERS, added_tokens=tokens, normalizer=normalizer, pre_tokenizer=pre_tokenizer
    )
    texts = data.draw(mixed_texts([token["content"] for token in tokens]))
    if refuses_first(content):
        return
    crate, native = reference(content), NativeTokenizer(content)
    for text in texts:
        found = native.encode(text)
        try:
            expected = crate.encode(text).ids
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            continue  # the crate has no answer where a token begins in the spaces of the one before
        assert found == expected, text


def test_ids_of_added_tokens_are_those_that_the_crate_gives():
    tokens = [added_token(content, 99) for content in ("new", "ab", "newer", "new")]
    assert_same(tokenizer_json(CHARACTERS, added_tokens=tokens), ["newer new ab", "newabnewer"])


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip", "normalized", "special"])
def test_a_flag_of_an_added_token_that_is_none_is_refused(flag):
    token = {**added_token("long enough to be allocated"), flag: 5}
    with pytest.raises(NativeTokenizerError, match="true or false") as caught:
        NativeTokenizer(tokenizer_json(CHARACTERS, added_tokens=[token]))
    assert caught.value.status == FORMAT


def test_ten_thousand_added_tokens():
    tokens = [added_token(f"tok{number}", number, normalized=number % 2 == 0) for number in range(10_000)]
    texts = [f"tok{number} tok tok{number}{number}ok" for number in range(0, 20_000, 7)]
    assert_same(tokenizer_json(CHARACTERS, added_tokens=tokens), texts)


# --- special tokens, truncation ---------------------------------------------------------------------------


@pytest.mark.parametrize("post_processor", POST_PROCESSORS, ids=str)
def test_truncation_at_every_length(post_processor):
    content = tokenizer_json(words("abc"), pre_tokenizer=BERT, post_processor=post_processor)
    texts = ["", "a", "a b", "a b c a b c a b c a", "c . b ? a"]
    native, crate = NativeTokenizer(content), reference(content)
    whole = [len(ids) for ids in crate_ids(crate, texts)]
    assert native.special_tokens == whole[0]
    for most in range(1, 16):
        if most < native.special_tokens:
            with pytest.raises(NativeTokenizerError, match="the special tokens alone") as raised:
                native.encode("a", most)
            assert raised.value.status == ARGUMENT
            continue
        crate.enable_truncation(most)
        expected = crate_ids(crate, texts)
        cut = [length - len(ids) for length, ids in zip(whole, expected, strict=True)]
        assert native.encode_batch_counted(texts, most) == (expected, cut)
        assert [native.encode_counted(text, most) for text in texts] == list(zip(expected, cut, strict=True))
        assert [native.encode(text, most) for text in texts] == expected


@pytest.mark.parametrize(
    "post_processor",
    [
        {**TEMPLATE, "single": []},
        {**TEMPLATE, "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 2},
        {**TEMPLATE, "single": [{"Sequence": {"id": "B", "type_id": 0}}]},
        {"type": "Sequence", "processors": [ROBERTA, ROBERTA]},
    ],
)
def test_a_post_processor_with_other_than_one_text_is_refused(post_processor):
    with pytest.raises(NativeTokenizerError, match="post-processor") as raised:
        NativeTokenizer(tokenizer_json(words("abc"), post_processor=post_processor))
    assert raised.value.status == UNSUPPORTED


def long_texts(strings):
    """Some of thousands of characters, with places to cut them and without."""
    run = "".join(strings[:300])
    return [" ".join(strings[:600]), run, run.replace(" ", ""), "word " * 3000, "世界" * 3000, "x" * 20_000]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "vocab" not in kind])
def test_stopping_early_gives_the_beginning_of_the_whole(kind, tmp_path, strings):
    content = content_of(kind, tmp_path)
    texts = long_texts(strings)
    native, crate = NativeTokenizer(content), reference(content)
    whole = crate_ids(crate, texts)
    assert native.encode_batch(texts) == whole
    for most in (2, 3, 17, 128, 512, 2000, 5000):
        crate.enable_truncation(most)
        expected = crate_ids(crate, texts)
        assert [native.encode(text, most) for text in texts] == expected
        cut = [len(ids) - len(kept) for ids, kept in zip(whole, expected, strict=True)]
        assert native.encode_batch_counted(texts, most) == (expected, cut)


# --- threads, arguments, damaged files --------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_keep_the_order(threads, minilm, strings):
    content = (minilm / "tokenizer.json").read_text(encoding="utf-8")
    texts = [*strings, "", *strings[:50]]
    assert NativeTokenizer(content, threads).encode_batch(texts) == crate_ids(reference(content), texts)


def test_several_threads_use_one_tokenizer(minilm, strings):
    native = NativeTokenizer(minilm / "tokenizer.json", 2)
    expected = native.encode_batch(strings)
    found = {}

    def work(number):
        texts = strings if number % 2 else strings[:100]
        found[number] = native.encode_batch(texts) == expected[: len(texts)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(6), True)


@pytest.mark.parametrize(
    "damaged", [b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\x80"]
)
def test_text_that_is_not_utf8_is_named(damaged):
    native = NativeTokenizer(tokenizer_json(words("abc"), pre_tokenizer=BERT), 2)
    with pytest.raises(NativeTokenizerError, match=r"text 2: .*not valid UTF-8") as raised:
        native.encode_batch(["a", "b", damaged, "c", damaged] * 3000)
    assert raised.value.status == ARGUMENT
    with pytest.raises(NativeTokenizerError, match="not valid UTF-8"):
        native.encode(damaged)


def test_zero_bytes_are_characters():
    assert_same(tokenizer_json(words(["a", "\0", "a\0"]), pre_tokenizer=BERT), ["\0", "a\0", "a \0 a", ""])


def test_an_empty_batch():
    assert NativeTokenizer(tokenizer_json(words("abc"))).encode_batch([]) == []


CONTENT = tokenizer_json(words("abc")).encode()


@pytest.fixture
def call():
    """Calls a function of the C interface; returns status and message."""
    library = native_tokenizer.library()

    def run(name, *arguments):
        message = ctypes.create_string_buffer(512)
        return getattr(library, name)(*arguments, message), message.value.decode()

    return run


def test_null_is_refused_where_it_means_nothing(call):
    native = NativeTokenizer(CONTENT)
    tokens, handle = ctypes.byref(native_tokenizer.Tokens()), ctypes.byref(ctypes.c_void_p())
    ids, count = (ctypes.c_int32 * 4)(), ctypes.byref(ctypes.c_int32())
    texts, lengths = (ctypes.c_char_p * 1)(None), (ctypes.c_size_t * 1)(1)
    refused = [
        call("m3e_tokenizer_load", None, None, handle),
        call("m3e_tokenizer_load", b"x", None, None),
        call("m3e_tokenizer_parse", None, 0, None, handle),
        call("m3e_tokenizer_parse", CONTENT, len(CONTENT), None, None),
        call("m3e_tokenize", None, texts, lengths, 0, 0, tokens),
        call("m3e_tokenize", native.handle, None, lengths, 1, 0, tokens),
        call("m3e_tokenize", native.handle, texts, None, 1, 0, tokens),
        call("m3e_tokenize", native.handle, texts, lengths, 1, 0, tokens),
        call("m3e_tokenize", native.handle, texts, lengths, 0, 0, None),
        call("m3e_tokenize_one", None, b"a", 1, 4, ids, count, None),
        call("m3e_tokenize_one", native.handle, None, 1, 4, ids, count, None),
        call("m3e_tokenize_one", native.handle, b"a", 1, 4, None, count, None),
        call("m3e_tokenize_one", native.handle, b"a", 1, 4, ids, None, None),
    ]
    assert [status for status, _ in refused] == [ARGUMENT] * len(refused)
    assert all(message.endswith("is NULL") for _, message in refused)
    library = native_tokenizer.library()
    library.m3e_tokens_free(None)
    library.m3e_tokenizer_free(None)


@pytest.mark.parametrize("most", [0, -1])
def test_one_text_needs_room_for_a_token(most, call):
    native = NativeTokenizer(CONTENT)
    ids, count = (ctypes.c_int32 * 4)(), ctypes.byref(ctypes.c_int32())
    assert call("m3e_tokenize_one", native.handle, b"a", 1, most, ids, count, None)[0] == ARGUMENT


def parse(call, options):
    handle = ctypes.c_void_p()
    found = call("m3e_tokenizer_parse", CONTENT, len(CONTENT), options, ctypes.byref(handle))
    native_tokenizer.library().m3e_tokenizer_free(handle)
    return found


@pytest.mark.parametrize("size", [8, 16, 24, 40, 48, 4096])
def test_options_of_other_versions(size, call):
    options = (ctypes.c_char * 4096)()
    ctypes.memmove(options, bytes(ctypes.c_size_t(size)), 8)
    assert parse(call, ctypes.byref(options)) == (0, "")


@pytest.mark.parametrize("size", [0, 1, 7, 12, 4104, 2**40, 2**64 - 8])
def test_options_whose_size_is_none(size, call):
    status, message = parse(call, ctypes.byref(native_tokenizer.Options(size=size)))
    assert status == ARGUMENT
    assert "size" in message


@pytest.mark.parametrize("threads", [-1, 1025, 2**31 - 1])
def test_impossible_numbers_of_threads(threads, call):
    status, message = parse(call, ctypes.byref(native_tokenizer.Options.of(threads)))
    assert status == ARGUMENT
    assert "threads" in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NativeTokenizerError, match=r"nowhere\.json") as raised:
        NativeTokenizer(tmp_path / "nowhere.json")
    assert raised.value.status == FILE


WHOLE = json.loads(CONTENT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbf" + CONTENT,
        CONTENT[:-1],
        CONTENT + b"x",
        b"[]",
        b"{}",
        b"[" * 1_000_000,
        json.dumps({**WHOLE, "model": None}).encode(),
        json.dumps({**WHOLE, "added_tokens": {}}).encode(),
        json.dumps({**WHOLE, "added_tokens": [{"id": 1, "content": "a"}]}).encode(),
        json.dumps({**WHOLE, "pre_tokenizer": {"type": 5}}).encode(),
        json.dumps({**WHOLE, "pre_tokenizer": {"type": "Digits"}}).encode(),
        json.dumps({**WHOLE, "pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "ab"}}).encode(),
        json.dumps({**WHOLE, "pre_tokenizer": {"type": "Punctuation", "behavior": "x"}}).encode(),
        json.dumps({**WHOLE, "post_processor": {**TEMPLATE, "special_tokens": {}}}).encode(),
        json.dumps({**WHOLE, "post_processor": {**ROBERTA, "sep": ["b", -2]}}).encode(),
        CONTENT.replace(b"[UNK]", b"\xff"),
    ],
)
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(NativeTokenizerError, match=r"tokenizer\.json: ") as raised:
        NativeTokenizer(tmp_path / "tokenizer.json")
    assert raised.value.status == FORMAT


def test_members_stand_in_any_order():
    turned = json.dumps(dict(reversed(json.loads(CONTENT).items())))
    assert_same(turned, ["a", "b", "d"])
