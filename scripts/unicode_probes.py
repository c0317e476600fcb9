"""What the installed package `tokenizers` holds to be true of each Unicode character.

Its crates carry several versions of Unicode: Rust's standard library, `unicode-normalization-alignments`,
`unicode_categories`, `unicode-segmentation`, `regex` and Oniguruma. Each probe asks the package itself, so it
is right whatever the versions are. Most join characters with line feeds, which keep them apart.
"""

import struct
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from tokenizers import Regex, normalizers, pre_tokenizers

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = [chr(code) for code in range(0xAC00, 0xD7A4)]  # syllables: composed by arithmetic, not by table

# Of the lowest and of the highest combining class above 0: Unicode's stability policy fixes them.
_OVERLAY, _IOTA_SUBSCRIPT = "\u0334", "\u0345"


class UnforeseenError(Exception):
    """The package does what the engine's tables have no place for."""


def _mapped(normalizer: normalizers.Normalizer, texts: list[str]) -> list[str]:
    """Normalize texts that have no line feed, many in one call: very many would be slower."""
    mapped: list[str] = []
    for i in range(0, len(texts), 20_000):
        mapped += normalizer.normalize_str("\n".join(texts[i : i + 20_000])).split("\n")
    return mapped


def _changes(normalizer: normalizers.Normalizer) -> dict[str, str]:
    """Characters that a normalizer changes, with what they become."""
    characters = [c for c in CHARACTERS if c != "\n"]
    return {c: to for c, to in zip(characters, _mapped(normalizer, characters), strict=True) if c != to}


def _removed(normalizer: normalizers.Normalizer) -> set[str]:
    return {c for c, to in _changes(normalizer).items() if not to}


def _matching(pattern: str) -> set[str]:
    kept = set(normalizers.Replace(Regex(pattern), "").normalize_str("".join(CHARACTERS)))
    return set(CHARACTERS) - kept


def _isolated(pre_tokenizer: pre_tokenizers.PreTokenizer) -> set[str]:
    """Characters that a pre-tokenizer splits from letters beside them."""
    alone = {piece for piece, _ in pre_tokenizer.pre_tokenize_str("".join(CHARACTERS)) if len(piece) == 1}
    return {c for c in alone if len(pre_tokenizer.pre_tokenize_str(f"a{c}a")) == 3}


def _split_away(pre_tokenizer: pre_tokenizers.PreTokenizer) -> set[str]:
    kept = (piece for piece, _ in pre_tokenizer.pre_tokenize_str("".join(CHARACTERS)))
    return set(CHARACTERS) - set("".join(kept))


def _rust_word() -> set[str]:
    r"""`\w` of the crate `regex`."""
    whitespace = pre_tokenizers.Whitespace()
    words: set[str] = set()
    for piece, _ in whitespace.pre_tokenize_str("".join(CHARACTERS)):
        if len(whitespace.pre_tokenize_str("a" + piece[0])) == 1:
            words.update(piece)
    return words


def _other() -> set[str]:
    """Categories C*: what BertNormalizer removes but for U+FFFD, and three that it takes for spaces."""
    clean = normalizers.BertNormalizer(True, False, False, False)
    changed = set(CHARACTERS) - set(clean.normalize_str("".join(CHARACTERS)))
    removed = {c for c in changed if not clean.normalize_str(c)}
    return (removed - {"\ufffd"}) | set("\t\n\r")


def _combining_classes() -> dict[str, int]:
    """Combining classes above 0: by the order into which NFD puts a character and one of known class."""
    nfd = normalizers.NFD()

    def swapped(pairs: list[str]) -> list[bool]:
        return [was != now for was, now in zip(pairs, _mapped(nfd, pairs), strict=True)]

    whole = set(CHARACTERS) - _changes(nfd).keys() - {"\n"}
    characters = sorted(whole)
    above = swapped([c + _OVERLAY for c in characters])
    below = swapped([_IOTA_SUBSCRIPT + c for c in characters])
    ordered = [c for c, *swaps in zip(characters, above, below, strict=True) if any(swaps)]
    known = {unicodedata.combining(c): c for c in reversed(ordered)}
    known.pop(0, None)
    classes = {}
    for c in ordered:
        swaps = zip(
            swapped([c + r for r in known.values()]), swapped([r + c for r in known.values()]), strict=True
        )
        (classes[c],) = [value for value, either in zip(known, swaps, strict=True) if not any(either)]
    return classes


def _compositions(canonical: dict[str, str]) -> dict[str, str]:
    """Pairs that NFC composes, with what they become."""
    nfc = normalizers.NFC()
    composed = {}
    for c, parts in canonical.items():
        if c in HANGUL or nfc.normalize_str(c) != c:
            continue
        pair = nfc.normalize_str(parts[:-1]) + parts[-1]
        if len(pair) != 2 or nfc.normalize_str(pair) != c:
            raise UnforeseenError(f"U+{ord(c):04X} is composed, but not of two characters")
        composed[pair] = c
    return composed


def _grapheme_counter() -> Callable[[list[str]], list[int]]:
    """A function that counts what `Precompiled` looks up in each text.

    These are grapheme clusters of less than 6 bytes, and the characters of longer ones. The map here turns
    all of them into X but those that begin with a line feed.
    """
    units = [256 << 10] + [
        0
    ] * 1023  # Darts' format: bits 0-7 are the label, bit 8 says a value follows, 10- offset
    for byte in set(range(1, 256)) - {0x0A}:
        units[256 + byte] = 512 << 10 | 1 << 8 | byte
    blob = struct.pack("<I1024I", 4096, *units) + b"X\0"
    replacing = normalizers.Precompiled(blob)
    return lambda texts: [len(text) for text in _mapped(replacing, texts)]


GRAPHEMES = ["other", "control", "extend", "zwj", "spacing_mark", "prepend", "pictographic", "consonant"]
GRAPHEMES += ["hangul_l", "hangul_v", "hangul_t", "hangul_lv", "hangul_lvt"]


def _grapheme_classes() -> dict[str, set[str]]:
    """Classes of grapheme clusters as far as they matter to `Precompiled`: see _grapheme_counter.

    In the probes, U+00A9 is a pictograph, U+0915 a consonant, and U+094D the sign that links it to the next.
    U+0300 extends what is before it by two bytes: both count 1 as a cluster, and 2 as part of a longer one.
    """
    count = _grapheme_counter()
    probed = CHARACTERS[0x7F:]

    def joined(before: str, after: str, units: int, characters: Iterable[str]) -> set[str]:
        characters = list(characters)
        counts = count([before + c + after for c in characters])
        return {c for c, n in zip(characters, counts, strict=True) if n == units}

    zwj = {"\u200d"}
    attached = joined("a", "", 1, probed)
    prepend = joined("", "a", 1, probed)
    control = joined("", "\u0300\u0301", 2, probed)
    extend = joined("\u00a9", "\u200d\u00a9\u0300", 5, attached) - zwj
    classed = attached | prepend | control
    rest = [c for c in probed if c not in classed]
    pictographic = joined("", "\u200d\u00a9\u0300", 4, rest)
    consonant = joined("", "\u094d\u0915\u0300", 4, rest)
    linker = joined("\u0915", "\u0915\u0300", 4, attached)
    incb_extend = joined("\u0915", "\u094d\u0915\u0300", 5, attached) - linker
    before_l = joined("", "\u1100\u0300", 3, rest)
    before_v = joined("", "\u1161\u0300", 3, rest)
    before_t = joined("", "\u11a8\u0300", 3, rest)
    after_v = {c for c in joined("\u1161", "\u0300", 3, before_t) if c <= "\uffff"}
    return {
        "control": control | {chr(code) for code in range(0x20)},
        "extend": extend,
        "zwj": zwj,
        "spacing_mark": attached - extend - zwj,
        "prepend": prepend,
        "pictographic": pictographic,
        "consonant": consonant,
        "hangul_l": before_l,
        "hangul_v": (before_t & before_v & after_v) | {c for c in before_t & before_v if c > "\uffff"},
        "hangul_t": before_t - before_v & after_v,
        "hangul_lv": {c for c in (before_t & before_v) - after_v if c <= "\uffff"},
        "hangul_lvt": before_t - before_v - after_v,
        "linker": linker,
        "incb_extend": incb_extend,
    }


def probe() -> dict[str, Any]:
    """All that the engine's tables hold, by name: sets of characters, and what characters become."""
    canonical = _changes(normalizers.NFD())
    compatible = _changes(normalizers.NFKD())
    lowercase = _changes(normalizers.Lowercase())
    compositions = _compositions(canonical)
    whitespace = _split_away(pre_tokenizers.WhitespaceSplit())
    if whitespace != _matching(r"\s"):
        raise UnforeseenError(r"\s and char::is_whitespace differ")
    # Whether a text of one form may have this character anywhere needs no look at its neighbours.
    classes = _combining_classes()
    jamos = {chr(code) for code in [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]}
    second = {pair[1] for pair in compositions} | jamos
    joining = {c for c in CHARACTERS if canonical.get(c, c)[0] in second}
    return {
        "whitespace": whitespace,
        "numeric": _isolated(pre_tokenizers.Digits(individual_digits=True)),
        "punctuation": _isolated(pre_tokenizers.Punctuation()) - set("$+<=>^`|~"),
        "nonspacing": _removed(normalizers.BertNormalizer(False, False, True, False)),
        "other": _other(),
        "combining": _removed(normalizers.StripAccents()),
        "letter": _matching(r"\p{L}"),
        "number": _matching(r"\p{N}"),
        "regex_word": _matching(r"\w"),
        "word": _rust_word(),
        "cased": set(lowercase),
        "second": second,
        "not_nfc": set(_changes(normalizers.NFC())) | joining | set(classes),
        "not_nfkc": set(_changes(normalizers.NFKC())) | joining | set(classes),
        "not_nfd": set(canonical) | set(classes),
        "not_nfkd": set(compatible) | set(classes),
        **_grapheme_classes(),
        "combining_class": classes,
        "lowercase": lowercase,
        "canonical": {c: to for c, to in canonical.items() if c not in HANGUL},
        "compatible": {c: to for c, to in compatible.items() if c not in HANGUL},
        "composition": compositions,
    }
