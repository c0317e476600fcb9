"""Write the engine's Unicode tables, or check that they agree with the installed package `tokenizers`.

python scripts/unicode_tables.py            writes runtime/native/src/tokenizer/unicode_tables.inc
python scripts/unicode_tables.py --check    compares; exit code 1 if they differ
"""

import argparse
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unicode_probes import GRAPHEMES, UnforeseenError, probe

TABLES = Path(__file__).parents[1] / "runtime/native/src/tokenizer/unicode_tables.inc"
BLOCK = 128  # characters

# Bits of a record, from bit 0: flags, then 4 bits of the grapheme class, then 8 of the combining class.
FLAGS = ["whitespace", "numeric", "punctuation", "nonspacing", "other", "combining", "letter", "number"]
FLAGS += ["regex_word", "word", "cased", "second", "not_nfc", "not_nfkc", "not_nfd", "not_nfkd"]
FLAGS += ["linker", "incb_extend"]
GRAPHEME_SHIFT, COMBINING_CLASS_SHIFT = 20, 24
DOTTED_I = "\u0130"  # the one whose lowercase is two characters: the engine knows it by itself


def _records(probed: dict[str, Any]) -> list[int]:
    records = [0] * 0x110000
    for code in range(0xD800, 0xE000):  # no characters, but category Cs
        records[code] = 1 << FLAGS.index("other")
    parts = {name: 1 << bit for bit, name in enumerate(FLAGS)}
    parts |= {name: i << GRAPHEME_SHIFT for i, name in enumerate(GRAPHEMES) if i}
    for name, part in parts.items():
        for c in probed[name]:
            records[ord(c)] |= part
    for c, combining_class in probed["combining_class"].items():
        records[ord(c)] |= combining_class << COMBINING_CLASS_SHIFT
    return records


def _numbered(values: list[int]) -> tuple[list[int], list[int]]:
    """The distinct values, and the number of each value among them."""
    distinct = dict.fromkeys(values)
    numbers = {value: i for i, value in enumerate(distinct)}
    return list(distinct), [numbers[value] for value in values]


def _two_stages(values: list[int], name: str) -> dict[str, list[int]]:
    """The distinct blocks of `values`, and the number of each block; zeros at the end are left out."""
    last = max((i for i, value in enumerate(values) if value), default=0)
    blocks = [tuple(values[i : i + BLOCK]) for i in range(0, last + 1, BLOCK)]
    distinct = dict.fromkeys(blocks)
    numbers = {block: i for i, block in enumerate(distinct)}
    return {f"k{name}Blocks": [numbers[b] for b in blocks], f"k{name}s": [v for b in distinct for v in b]}


def _property_tables(probed: dict[str, Any]) -> dict[str, list[int]]:
    records, numbers = _numbered(_records(probed))
    return {"kRecords": records, **_two_stages(numbers, "RecordNumber")}


def _lowercase_tables(probed: dict[str, Any]) -> dict[str, list[int]]:
    shifts = [0] * 0x110000
    for c, to in probed["lowercase"].items():
        if c != DOTTED_I:
            shifts[ord(c)] = ord(to) - ord(c)
    distinct, numbers = _numbered(shifts)
    return {"kLowercaseShifts": distinct, **_two_stages(numbers, "LowercaseNumber")}


def _decomposition_tables(probed: dict[str, Any]) -> dict[str, list[int]]:
    """Entries of begin, bytes and bytes (0: as the canonical one) in a pool of UTF-8."""
    pool, entries, numbers = b"", [0, 0, 0], [0] * 0x110000
    for c in sorted({*probed["canonical"], *probed["compatible"]}):
        canonical, compatible = (probed[form].get(c, "").encode() for form in ("canonical", "compatible"))
        compatible = b"" if compatible == canonical else compatible
        both = canonical + compatible
        pool += b"" if both in pool else both
        numbers[ord(c)] = len(entries) // 3
        entries += [pool.index(both), len(canonical), len(compatible)]
    tables = _two_stages(numbers, "DecompositionNumber")
    return {"kDecomposed": list(pool), "kDecompositions": entries, **tables}


def _composition_tables(probed: dict[str, Any]) -> dict[str, list[int]]:
    pairs = sorted(probed["composition"].items())
    return {"kCompositions": [ord(c) for pair, to in pairs for c in (*pair, to)]}


def tables() -> dict[str, list[int]]:
    """All tables, by the name that the engine gives them."""
    probed = probe()
    if {c for c, to in probed["lowercase"].items() if len(to) > 1} != {DOTTED_I}:
        raise UnforeseenError("another character than U+0130 has a lowercase of two")
    return {
        **_property_tables(probed),
        **_lowercase_tables(probed),
        **_decomposition_tables(probed),
        **_composition_tables(probed),
    }


def _type_of(values: list[int]) -> str:
    if min(values) < 0:
        return "int32_t"
    return next(f"uint{bits}_t" for bits in (8, 16, 32) if max(values) < 1 << bits)


def _lines(values: list[int]) -> list[str]:
    lines = [""]
    for value in values:
        if len(lines[-1]) + len(f"{value},") > 100:
            lines.append("")
        lines[-1] += f"{value},"
    return lines


def write(tabled: dict[str, list[int]]) -> str:
    """The file with these tables."""
    lines = [f"// Made by scripts/unicode_tables.py from tokenizers {version('tokenizers')}. Do not edit."]
    for bit, name in enumerate(FLAGS):
        lines.append(f"static_assert({_constant(name)} == 1u << {bit});")
    for i, name in enumerate(GRAPHEMES):
        lines.append(f"static_assert(static_cast<int>(Grapheme::{name}) == {i});")
    for name, values in tabled.items():
        lines += [f"const {_type_of(values)} {name}[{len(values)}] = {{", *_lines(values), "};"]
    return "\n".join(lines) + "\n"


def _constant(flag: str) -> str:
    return "k" + flag.title().replace("_", "")


def read(text: str) -> dict[str, list[int]]:
    """The tables of a file that `write` made."""
    found = re.findall(r"^const \w+ (\w+)\[\d+\] = \{([^}]*)\};", text, re.M)
    return {name: [int(value) for value in values.split(",") if value.strip()] for name, values in found}


def _value(tabled: dict[str, list[int]], name: str, code: int) -> int:
    blocks = tabled[f"k{name}Blocks"]
    if code // BLOCK >= len(blocks):
        return 0
    return tabled[f"k{name}s"][blocks[code // BLOCK] * BLOCK + code % BLOCK]


def _meanings(tabled: dict[str, list[int]], code: int) -> dict[str, object]:
    """What the tables say of one character."""
    record = tabled["kRecords"][_value(tabled, "RecordNumber", code)]
    entry = 3 * _value(tabled, "DecompositionNumber", code)
    begin, *lengths = tabled["kDecompositions"][entry : entry + 3]
    return {
        **{name: record >> bit & 1 for bit, name in enumerate(FLAGS)},
        "grapheme": GRAPHEMES[record >> GRAPHEME_SHIFT & 15],
        "combining_class": record >> COMBINING_CLASS_SHIFT,
        "lowercase": tabled["kLowercaseShifts"][_value(tabled, "LowercaseNumber", code)],
        "decomposition": (lengths[0], bytes(tabled["kDecomposed"][begin : begin + sum(lengths)])),
    }


def differences(was: dict[str, list[int]], now: dict[str, list[int]]) -> dict[str, list[str]]:
    """Characters of which two sets of tables say something else, by what is said."""
    found: dict[str, list[str]] = {}
    if was == now:
        return found
    for code in range(0x110000):
        old, new = _meanings(was, code), _meanings(now, code)
        for name in (name for name in old if old[name] != new[name]):
            found.setdefault(name, []).append(f"U+{code:04X}")
    if was["kCompositions"] != now["kCompositions"]:
        found["composition"] = []
    return found


def check() -> int:
    """Print what differs between the file and the installed package; returns the exit code."""
    differing = differences(read(TABLES.read_text()), tables())
    lines = [f"{name}: {len(found)} differ: {' '.join(found[:8])}" for name, found in differing.items()]
    if differing:
        lines.append(f"tokenizers {version('tokenizers')} has other tables: run {Path(__file__).name}")
    sys.stderr.writelines(f"{line}\n" for line in lines)
    return bool(differing)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write or check the engine's Unicode tables.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        return check()
    TABLES.write_text(write(tables()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
