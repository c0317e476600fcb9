"""README and docs/: what they point to exists, the two READMEs agree, figures are those of the results."""

from __future__ import annotations

import functools
import re
from collections import Counter

import pytest

from pages import PAGES, README, README_ZH, ROOT, blocks_of, inline_code, prose

MOST_LINES = 130
HEADING_LINES = 8
HEADINGS = ("Export", "Encode", "Serve", "Corpora", "Evaluate", "GPU")
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
CPU_RESULTS = ROOT / "benchmarks" / "results" / "cpu-2026-11-28-avx512_vnni.md"
IN_RESULTS = {
    "ONNX Runtime, torch.onnx graph": "onnxruntime-export",
    "OpenVINO fp32": "openvino-fp32",
    "ONNX Runtime dynamic int8": "onnxruntime-dynamic-int8",
    "CTranslate2 int8": "ctranslate2-int8",
}
PATH = re.compile(r"(?:export|runtime|tests|benchmarks|docs|examples|deploy|\.ci)/[\w./*-]*")
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@EVERY_PAGE
def test_files_in_sentences_exist(page):
    for path in inline_code(page):
        if PATH.fullmatch(path) and "NAME" not in path and "isa_" not in path:
            assert list(ROOT.glob(path.rstrip("/"))), path


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "extending").glob("*.md")), ids=lambda page: page.name
)
def test_names_in_the_pages_on_how_to_add_are_in_the_code(page):
    for code in inline_code(page):
        if re.fullmatch(r"\w+", code):
            assert code in all_names(), code


@functools.cache
def all_names():
    files = [each for folder in ("export", "runtime", "tests") for each in (ROOT / folder).rglob("*")]
    sources = [
        each.read_text(encoding="utf-8") for each in files if each.suffix in (".py", ".h", ".cpp", ".txt")
    ]
    return set(re.findall(r"\w+", "\n".join(sources)))


@pytest.mark.parametrize("page", [README, README_ZH], ids=lambda page: page.name)
def test_links_of_readme_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        file, _, anchor = target.partition("#")
        assert (ROOT / file).is_file(), target
        if anchor:
            assert anchor in anchors(ROOT / file), target


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_readme_is_short():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    sections = re.split(r"^## ", prose(README), flags=re.MULTILINE)
    for name in HEADINGS:
        (section,) = (each for each in sections if each.startswith(f"{name}\n"))
        shown = [line for line in section.splitlines()[1:] if line]
        assert len(shown) <= HEADING_LINES
        assert "](docs/" in section


def test_readme_has_two_setup_commands():
    for page in (README, README_ZH):
        setup = [block for block in blocks_of(page) if block.needs == "an installation"]
        first, second = (block.code for block in setup)
        assert first.endswith("&& m3e-quickstart\n")
        assert "&& python -m pytest" in second


def test_both_readmes_show_the_same_commands():
    english, chinese = (
        [(_.language, _.code, _.needs) for _ in blocks_of(page)] for page in (README, README_ZH)
    )
    assert english == chinese


def test_both_readmes_have_the_same_figures():
    english, chinese = (Counter(figures(prose(page))) for page in (README, README_ZH))
    assert english == chinese


def figures(text):
    """Numbers that stand by themselves, and not in names such as int8 or C++17."""
    return re.findall(
        r"(?<![\w.+-])\d[\d.,]*\d×?|(?<![\w.+-])\d×?(?![\w.])", re.sub(r"\]\([^)]*\)", "]", text)
    )


def rows(text, start=""):
    table = text[text.index(start) :]
    cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line[:1] == "|"
    )
    return {row[0]: row[1:] for row in cells}


def test_speed_in_readme_is_that_of_the_benchmarks():
    measured = rows(BENCHMARKS.read_text(encoding="utf-8"), "## CPU")
    shown = {
        name: row
        for name, row in rows(README.read_text(encoding="utf-8"), "| | 12 tokens").items()
        if "(" in str(row)
    }
    shown = {name: row for name, row in shown.items() if "×" in row[0]}
    assert len(shown) >= 6
    for name, row in shown.items():
        assert measured[name] == row


def test_speed_in_the_benchmarks_is_that_of_the_results():
    measured = rows(CPU_RESULTS.read_text(encoding="utf-8"), "**m3e-base, 2 threads**")
    text = BENCHMARKS.read_text(encoding="utf-8")
    shown = rows(text[text.index("| | 12 tokens, ms") : text.index("The native engine against")])
    compared = {name: row for name, row in shown.items() if "×" in row[0]}
    assert len(compared) == 8
    for name, row in compared.items():
        assert set(row) <= set(measured[IN_RESULTS.get(name, name)]), name


def test_ratios_in_the_benchmarks_are_those_of_the_results():
    measured = rows(CPU_RESULTS.read_text(encoding="utf-8"))
    text = BENCHMARKS.read_text(encoding="utf-8")
    shown = rows(text[text.index("| times as fast |") : text.index("int8 is least ahead")])
    compared = {name: row for name, row in shown.items() if "×" in row[0]}
    assert len(compared) == 8
    for name, row in compared.items():
        assert measured[f"ours-{name}"] == row


def test_fidelity_in_readme_is_that_of_the_benchmarks():
    row = rows(BENCHMARKS.read_text(encoding="utf-8"), "## Fidelity")["int8, native engine"]
    _, mean, _, worst, kept, _ = row
    for page in (README, README_ZH):
        assert {mean, worst, kept} <= set(figures(prose(page)))


def test_every_page_of_docs_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation
