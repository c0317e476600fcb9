"""The engine's Unicode tables are what the installed package `tokenizers` computes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each character is asked some thirty questions

SCRIPT = Path(__file__).parents[2] / "scripts/unicode_tables.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_tables_agree_with_the_installed_tokenizers():
    """If this fails after an update of tokenizers, run the script without --check, and rebuild the engine."""
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr


def test_what_differs_is_named(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import unicode_tables

    was = unicode_tables.read(unicode_tables.TABLES.read_text())
    now = was | {"kLowercaseShifts": [0, 31, *was["kLowercaseShifts"][2:]], "kCompositions": []}
    assert was["kLowercaseShifts"][:2] == [0, 32]
    found = unicode_tables.differences(was, now)
    assert found.keys() == {"lowercase", "composition"}
    assert found["lowercase"][0] == "U+0041"
