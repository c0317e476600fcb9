"""The engine's Unicode tables are what the installed package `tokenizers` computes."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/unicode_tables.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_tables_agree_with_the_installed_tokenizers():
    """If this fails after an update of tokenizers, run the script without --check, and rebuild the engine."""
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr
