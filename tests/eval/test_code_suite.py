"""``--suite code``: the questions and functions in the package, and what MiniLM finds of them."""

from __future__ import annotations

import ast
import importlib.util
from types import SimpleNamespace

import pytest

from m3e_eval.cli import main
from m3e_eval.evaluate import _score
from m3e_eval.local import read_local
from m3e_eval.suites import CODE_FILE, plan
from m3e_export.errors import OptionError

needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed")


@pytest.fixture(scope="module")
def judged():
    return read_local(CODE_FILE)


def test_every_question_has_one_answer_of_its_own(judged):
    assert len(judged.queries) == len(judged.passages) == 124
    answers = [tuple(relevant) for relevant in judged.relevant.values()]
    assert all(len(found) == 1 for found in answers)
    assert len(set(answers)) == len(answers)


def test_half_of_the_questions_are_chinese(judged):
    chinese = [text for text in judged.queries.values() if any("一" <= each <= "鿿" for each in text)]
    assert len(chinese) == len(judged.queries) / 2


def test_python_parses_and_every_language_has_its_share(judged):
    codes = list(judged.passages.values())
    python = [code for code in codes if code.startswith("def ")]
    assert len(python) == 40
    for code in python:
        ast.parse(code)
    sql = [code for code in codes if code.endswith(";")]
    go = [code for code in codes if code.startswith(("func ", "type "))]
    assert (len(sql), len(go), len(codes) - len(sql) - len(go) - len(python)) == (28, 28, 28)


@needs_mteb
def test_the_suite_adds_tasks_of_mteb():
    names = [planned.name for planned in plan(["code"])]
    assert names[0] == "QuestionsWithCode"
    assert {"CosQA", "AppsRetrieval"} < set(names)
    assert [planned.name for planned in plan(["code"], only=["CosQA"])] == ["CosQA"]
    with pytest.raises(OptionError, match="no task for a reranker"):
        plan(["code"], ranks=True)


@needs_mteb
def test_int8_finds_code_as_well_as_the_original(minilm, two_precisions, capsys, tmp_path):
    arguments = [str(two_precisions), "--reference", str(minilm), "--suite", "code"]
    assert main([*arguments, "--tasks", "QuestionsWithCode", "-o", str(tmp_path / "scores")]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "ndcg_at_10" in line)
    original, *others = [float(cell) for cell in row.split() if cell.startswith("0.")]
    assert original > 0.5
    assert all(abs(other - original) < 0.02 for other in others)


def test_subsets_of_a_task_are_averaged():
    scores = {"test": [{"ndcg_at_10": 0.25}, {"ndcg_at_10": 0.75}]}
    result = SimpleNamespace(task_results=[SimpleNamespace(scores=scores)])
    mteb = SimpleNamespace(evaluate=lambda *_, **__: result)
    planned = SimpleNamespace(task=SimpleNamespace(seed=1), split="test", metrics=("ndcg_at_10",))
    assert _score(mteb, None, planned) == {"ndcg_at_10": 0.5}
