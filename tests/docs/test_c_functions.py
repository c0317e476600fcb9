"""The page of the C interface and its header."""

import re

from pages import ROOT

HEADER = (ROOT / "runtime" / "native" / "include" / "m3e.h").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "c-interface.md").read_text(encoding="utf-8")


def declared():
    return set(re.findall(r"\b(m3e_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)))


def test_the_page_lists_every_function_and_no_other():
    assert "m3e_embed" in declared()
    listed = set(re.findall(r"`(m3e_\w+)`", PAGE))
    structures = {"m3e_options", "m3e_embedding", "m3e_scoring", "m3e_inputs"}
    assert listed - declared() == structures
    assert declared() - listed == set()


def test_the_page_lists_every_code():
    codes = set(re.findall(r"\bM3E_(?:ERROR_\w+|STOPPED)\b", HEADER))
    assert {code for code in codes if code not in PAGE} == set()
