"""The engine's normalizers against the package `tokenizers`: every character, and texts of many kinds."""

import base64
import itertools
import json
import random
import struct
import unicodedata

import pytest
from tokenizers import Regex, normalizers
from tokenizers.normalizers import (
    NFC,
    NFD,
    NFKC,
    NFKD,
    BertNormalizer,
    ByteLevel,
    Lowercase,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    Sequence,
    Strip,
    StripAccents,
)

import native_shim

pytestmark = pytest.mark.skipif(native_shim.COMPILER is None, reason="no C++ compiler")

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
# What transformers writes into a tokenizer.json as regular expressions.
PATTERNS = [" {2,}", r"\s+", r"\n", r"[\n\r\t]", r"\s{2,}|[\n\r\t]", r"\A +| +\z", r"\A▁", " +▁", "^▁+$"]


def darts(entries: dict[str, str]) -> bytes:
    """A map of Precompiled: https://github.com/google/sentencepiece, builder.cc and Darts.

    Each inner node has 256 units of its own, so that no two nodes meet.
    """
    texts, children, values = b"", [{}], {}
    for key, value in entries.items():
        node = 0
        for byte in key.encode():
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
            node = children[node][byte]
        values[node] = len(texts)
        texts += value.encode() + b"\0"
    units = [0] * (256 * (len(children) + 1))
    units[0] = 256 << 10  # the root's children are in the second 256
    for node, below in enumerate(children):
        for byte, child in below.items():
            position = 256 * (node + 1) + byte
            offset = position ^ (256 * (child + 1))
            units[position] = offset << 10 | (child in values) << 8 | byte
        if node in values:
            units[256 * (node + 1)] = 1 << 31 | values[node]
    return struct.pack(f"<{len(units) + 1}I", 4 * len(units), *units) + texts


def character_map() -> bytes:
    """NFKC of some characters, and keys of several characters that are or are not grapheme clusters."""
    changed = [
        c for c in CHARACTERS[:0x3100:3] + CHARACTERS[0xF000:0x10000:17] if NFKC().normalize_str(c) != c
    ]
    entries = {c: NFKC().normalize_str(c) for c in changed}
    entries |= {"e\u0301": "é", "\r\n": " ", "\n": " ", "\u0001": "", "©\u200d": "joined", "ab": "ligature"}
    entries |= {"\u0915\u0300": "ka", "\u1161\u0300": "vowel", "\u0600a": "number", "🙂": "smile", "▁": " "}
    return darts(entries)


SINGLE = {
    "NFC": NFC(),
    "NFD": NFD(),
    "NFKC": NFKC(),
    "NFKD": NFKD(),
    "Lowercase": Lowercase(),
    "StripAccents": StripAccents(),
    "Nmt": Nmt(),
    "ByteLevel": ByteLevel(),
    "Prepend": Prepend("▁"),
    "Precompiled": Precompiled(character_map()),
}
SINGLE |= {f"Strip {sides}": Strip(*sides) for sides in itertools.product([False, True], repeat=2)}
SINGLE |= {
    f"Bert {flags}": BertNormalizer(*flags)
    for flags in itertools.product([False, True], [False, True], [None, False, True], [False, True])
}
SINGLE |= {f"Replace {pattern!r}": Replace(Regex(pattern), "▁") for pattern in PATTERNS}
SINGLE |= {f"Replace text {text!r}": Replace(text, "↦ ") for text in [" ", "``", "a", "é", "aa", "\n", ".*"]}
SEQUENCES = {
    "albert": Sequence([Replace("``", '"'), Replace("''", '"'), NFKD(), StripAccents(), Lowercase()]),
    "xlm-r": Sequence([Precompiled(character_map()), Strip(True, True), Replace(Regex(" {2,}"), "▁")]),
    "mbart": Sequence([Precompiled(character_map()), Replace(Regex(" {2,}"), " ")]),
    "llama": Sequence([Prepend("▁"), Replace(" ", "▁")]),
    "clip": Sequence([NFC(), Replace(Regex(r"\s+"), " "), Lowercase()]),
    "deberta": Sequence([Lowercase(), Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), NFC(), Strip(False, True)]),
    "seamless": Sequence(
        [
            Replace(Regex(r"[\n\r\t]"), " "),
            NFKC(),
            Strip(False, True),
            Replace(Regex(" +▁"), "▁"),
            Replace(Regex("^▁+$"), ""),
            Replace(Regex(" {2,}"), "▁"),
        ]
    ),
    "nested": Sequence([Sequence([NFD(), StripAccents()]), Sequence([]), Sequence([NFC(), Prepend("ab")])]),
    "bert twice": Sequence([BertNormalizer(), Nmt(), NFKC(), BertNormalizer(lowercase=False)]),
}
ALL = SINGLE | SEQUENCES


def described(normalizer: normalizers.Normalizer) -> str:
    return normalizer.__getstate__().decode()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return native_shim.build_normalizers(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def read(library):
    return lambda normalizer: native_shim.read_normalizer(library, described(normalizer))


def pools() -> list[list[str]]:
    """Characters by what may happen to them; the last one has all."""
    marks = [c for c in CHARACTERS if unicodedata.combining(c)]
    changing = [c for c in CHARACTERS if unicodedata.decomposition(c)]
    spaces = [c for c in CHARACTERS if c.isspace()] + ["▁", "\u200b", "\ufeff", "\0", "\ufffd"]
    composing = list(
        "aeiouAEIOU\u0915\u0928\u0930\u0933\u1100\u1112\uac00\uac1c\u3046\u304b\u0308\u0301\u0323"
    )
    jamos = [
        chr(code) for code in [*range(0x1100, 0x1200, 5), *range(0xA960, 0xA97D, 7), 0xD7B0, 0xD7CB, 0x16D63]
    ]
    emoji = list("🙂❤©®👩👧\u200d\u200d\ufe0f\u20e3🏽🇩🇪🇷🏴\U000e0067\U000e007f")
    indic = [chr(code) for code in range(0x900, 0xE00)] + ["\u0300", "\u0600", "\u200c", "\u200d"]
    texts = [
        "ab",
        "``",
        "''",
        "\r\n",
        " \n",
        "▁▁",
        "  ",
        "e\u0301",
        "İ",
        "ΑΣ",
        "ß",
        "ﬁ",
        "中文",
        "日本",
        "한국",
        "Q",
    ]
    ascii_ = [chr(code) for code in range(128)]
    edges = [
        "\ufdd0",
        "\uffff",
        "\U0001ffff",
        "\U0010ffff",
        "\ue000",
        "\u0378",
        "\U000e0001",
        "\U000f0000",
        "\x85",
    ]
    return [marks, changing, spaces, composing, jamos, emoji, indic, texts, ascii_, edges, CHARACTERS]


POOLS = pools()


def random_text(source: random.Random) -> str:
    """Stretches of characters from one pool each."""
    stretches = (
        "".join(source.choices(source.choice(POOLS), k=source.randint(0, 6)))
        for _ in range(source.randint(0, 5))
    )
    return "".join(stretches)


@pytest.mark.parametrize(
    "name", [n for n in SINGLE if n.startswith(("NF", "L", "StripA", "Nmt", "By", "Bert", "Pre"))]
)
def test_every_character_is_as_in_tokenizers(read, name):
    """All characters in a few texts: line feeds keep them apart where they are kept."""
    ours = read(ALL[name])
    for i in range(0, len(CHARACTERS), 50_000):
        text = "\n".join(CHARACTERS[i : i + 50_000])
        assert ours(text) == ALL[name].normalize_str(text)


@pytest.mark.parametrize("name", ALL)
def test_random_texts_are_as_in_tokenizers(read, name):
    ours, source = read(ALL[name]), random.Random(name)
    for text in (random_text(source) for _ in range(1500)):
        assert ours(text) == ALL[name].normalize_str(text), ascii(text)


@pytest.mark.parametrize("name", ALL)
def test_short_texts(read, name):
    ours = read(ALL[name])
    for text in [
        "",
        " ",
        "  ",
        "\n",
        "▁",
        "\0",
        "\u0301",
        "\u0301\u0300",
        " a ",
        "\u3000",
        "a\u3000",
        "▁\n▁▁\n",
    ]:
        assert ours(text) == ALL[name].normalize_str(text), ascii(text)


def test_every_ascii_character_may_be_a_pattern(read):
    for text in map(chr, range(1, 128)):
        normalizer = Replace(text + "x", "\\0$&")
        assert read(normalizer)(f"a{text}x{text}{text}xx") == normalizer.normalize_str(
            f"a{text}x{text}{text}xx"
        )


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ({"type": "Klingon"}, "normalizer Klingon"),
        ({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Klingon"}]}, "normalizer Klingon"),
        ({"type": "Replace", "pattern": {"Regex": "a|b"}, "content": ""}, "a|b"),
        ({"type": "Replace", "pattern": {"String": ""}, "content": "x"}, "Replace"),
        ({"type": "Prepend", "prepend": ""}, "Prepend"),
    ],
)
def test_what_is_not_known_is_named(library, description, named):
    with pytest.raises(native_shim.RefusedError) as caught:
        native_shim.read_normalizer(library, json.dumps(description))
    assert caught.value.unsupported
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "description",
    [
        [],
        {},
        {"type": 1},
        {"type": "Strip", "strip_left": True},
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": "yes"},
        {"type": "Replace", "pattern": "a", "content": "b"},
        {"type": "Sequence", "normalizers": {}},
        {"type": "Precompiled", "precompiled_charsmap": ""},
        {"type": "Precompiled", "precompiled_charsmap": "AAA"},
        {"type": "Precompiled", "precompiled_charsmap": "AAA?"},
        {
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(b"\xff\xff\xff\xff\0\0\0\0").decode(),
        },
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\0\0\0\0a\0").decode()},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\4\0\0\0\0\0\0\0\xff").decode()},
    ],
)
def test_damaged_descriptions_are_refused(library, description):
    with pytest.raises(native_shim.RefusedError) as caught:
        native_shim.read_normalizer(library, json.dumps(description))
    assert not caught.value.unsupported


def test_maps_that_point_outside_of_themselves_refuse_the_text(library):
    good = bytearray(character_map())
    source, refused = random.Random(7), 0
    for _ in range(40):
        blob = bytearray(good)
        for _ in range(2000):  # in the units
            blob[source.randrange(4, len(good) - 1000)] = source.randrange(256)
        text = base64.b64encode(bytes(blob)).decode()
        try:
            ours = native_shim.read_normalizer(
                library, json.dumps({"type": "Precompiled", "precompiled_charsmap": text})
            )
        except native_shim.RefusedError:
            continue
        refused += any(ours(random_text(source)) is None for _ in range(50))
    assert refused


def test_texts_do_not_grow_without_end(library):
    twice = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    ours = native_shim.read_normalizer(library, json.dumps({"type": "Sequence", "normalizers": [twice] * 60}))
    assert ours("b") == "b"
    assert ours("a" * 1000) is None


def test_long_runs_take_time_in_proportion(read):
    """A search or a sort that begins anew at each character would take minutes."""
    spaces = " " * 1_000_000 + "a"
    assert read(Replace(Regex(" +▁"), "▁"))(spaces) == spaces
    assert read(Replace(Regex(r"\A +| +\z"), ""))("a" + spaces) == "a" + spaces
    acute, dot = "\u0301", "\u0323"
    assert read(NFC())("a" + (acute + dot) * 300_000) == "\u1ea1" + dot * 299_999 + acute * 300_000
