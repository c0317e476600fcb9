"""``--suite code``: the questions and functions in the package, and what MiniLM finds of them."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import m3e_eval
from m3e_eval.cli import main
from m3e_eval.encoder import TextEncoder
from m3e_eval.local import read_local
from m3e_export.errors import OptionError

needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed")


@pytest.fixture(scope="module")
def judged():
    # m3e_eval.suites, which names the file, needs mteb.
    return read_local(Path(m3e_eval.__file__).parent / "data" / "questions_with_code.jsonl")


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
    from m3e_eval.suites import plan

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


class Recorder(TextEncoder):
    """Keeps the texts that came with each prompt."""

    kind, engine, precision = "artifact", "none", "fp32"

    def __init__(self, prompts=None):
        super().__init__("recorder", "local", "cosine", prompts or {})
        self.asked = {}

    def vectors(self, texts, prompt=""):
        self.asked.setdefault(prompt, set()).update(text.strip() for text in texts)
        return np.random.default_rng(0).standard_normal((len(texts), 4)).astype(np.float32)


@needs_mteb
def test_only_questions_get_the_query_prompt_of_the_checkpoint(judged):
    import mteb

    from m3e_eval.suites import plan

    prompt = "Represent this query for searching relevant code: "  # CodeRankEmbed's
    model = Recorder({"query": prompt})
    (own,) = plan(["code"], only=["QuestionsWithCode"])
    mteb.evaluate(model, own.task, cache=None, show_progress_bar=False)
    assert model.asked == {prompt: set(judged.queries.values()), "": set(judged.passages.values())}


@needs_mteb
def test_a_task_in_several_languages_has_the_mean_of_their_scores(monkeypatch):
    import mteb

    from m3e_eval.evaluate import _score
    from m3e_eval.suites import plan

    (planned,) = plan(["code"], only=["CodeSearchNetRetrieval"])
    languages = planned.task.metadata.hf_subsets
    assert len(languages) == 6
    scores = [dict.fromkeys(planned.metrics, number / 8) for number in range(len(languages))]
    result = SimpleNamespace(task_results=[SimpleNamespace(scores={planned.split: scores})])
    monkeypatch.setattr(mteb, "evaluate", lambda *_, **__: result)
    assert _score(mteb, Recorder(), planned) == dict.fromkeys(planned.metrics, 0.3125)
