"""``m3e-eval --report``, on an evaluation put together by hand. Needs no mteb."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from html_page import HtmlPage
from m3e_eval import cli, published
from m3e_eval.evaluate import Contestant, Evaluation, NotRun, Row
from m3e_eval.golden import Check
from m3e_eval.page import evaluation_page
from m3e_runtime.bundle import Bundle

HOSTILE = "</td><script>alert(1)</script>"


def row(suite, task, metric, scores, data=""):
    names = ("pytorch", "fp32-cpu", "int8-native")
    known = published.M3E.scores(task, metric) if suite == "m3e" else {}
    return Row(suite, task, "Retrieval", metric, "test", data, dict(zip(names, scores, strict=False)), known)


@pytest.fixture
def found(tiny_bundle) -> Evaluation:
    """Three contestants, two suites, tasks that were not run, golden checks of every status."""
    return Evaluation(
        bundle=Bundle.open(tiny_bundle),
        mteb="2.1.0",
        contestants=(
            Contestant("pytorch", "reference", "fp32", "sentence-transformers 6.2.0", 61.2),
            Contestant("fp32-cpu", "artifact", "fp32", "onnxruntime-cpu 1.32.0", 30.5),
            Contestant("int8-native", "artifact", "int8", "native 0.1.0", 9.8),
        ),
        baseline="pytorch",
        rows=(
            row("m3e", "TNews", "accuracy", (0.4826, 0.4826, 0.4811)),
            row("m3e", "T2RRetrieval", "ndcg_at_10", (0.8004, 0.8004, 0.7968), "a copy of T2"),
            row("m3e", "IFlyTek", "accuracy", (0.4432, 0.4433)),
            row(f"{HOSTILE}.csv", HOSTILE, "cosine_ap", (0.9713, 0.9713, 0.9722)),
        ),
        not_run=(NotRun("m3e", "JDIphone", None, f"no file {HOSTILE}"),),
        checks=(
            Check("m3e: TNews accuracy", "m3e-base", "fp32-cpu", 0.4827, "passed", 0.4826, 0.01),
            Check("m3e: average accuracy", "ada-002", None, 0.5956, "not run", reason="a closed model"),
            Check("cosine 花呗 ↔ 银行卡", "m3e-base", "int8-native", 0.85, "failed", 0.79, 0.02),
        ),
        tables={"m3e": published.M3E},
    )


def read(content: str) -> HtmlPage:
    page = HtmlPage(content)
    page.check_harmless()
    return page


def test_it_shows_scores_differences_and_what_was_not_run(found):
    page = read(evaluation_page(found))
    assert "mteb 2.1.0" in page.text
    assert {"0.4826", "0.4811", "-0.0015 (-0.31%)", "0.7968", "+0.0001 (+0.02%)"} <= set(page.texts)
    assert {"-0.15", "-0.36", "+0.09"} <= set(page.texts)  # beside the bars, in points
    assert "golden checks: 1 failed" in page.text
    assert page.text.index("✗ failed") < page.text.index("✓ passed")
    assert {"ada-002*", "m3e-large-0619"} <= set(page.texts)
    assert "closed model" in page.text
    assert "T2RRetrieval: a copy of T2" in page.text
    assert HOSTILE in page.texts
    assert f"no file {HOSTILE}" in page.texts


def test_without_a_baseline_there_are_no_differences(found):
    alone = dataclasses.replace(
        found, baseline=None, contestants=found.contestants[2:], checks=(), not_run=()
    )
    page = read(evaluation_page(alone))
    assert not page.of_class("differences")
    assert "baseline of differences none" in page.text
    assert "all tasks and checks were run" in page.text


@pytest.fixture
def evaluated(found, monkeypatch):
    """The command, with an evaluation that is there already."""
    monkeypatch.setattr(cli, "evaluate", lambda request: found)
    return lambda *arguments: cli.main([str(found.bundle.path), "--golden", *map(str, arguments)])


def test_a_failed_check_has_a_report_and_its_exit_code(evaluated, out, capsys):
    report = out / "new" / "scores.html"
    assert evaluated("--report", report, "--json") == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["report"] == str(report)
    assert f"m3e-eval: wrote {report}" in printed.err
    assert "1 failed" in read(report.read_text(encoding="utf-8")).text


def test_without_the_option_there_is_none(evaluated, out, capsys):
    assert evaluated("--json") == 3
    assert "report" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("name", "code"), [("scores.txt", 2), ("folder.html", 2), ("file/scores.html", 1)])
def test_a_report_that_cannot_be_is_refused_before_the_evaluation(
    evaluated, out, monkeypatch, name, code, capsys
):
    monkeypatch.setattr(cli, "evaluate", lambda request: pytest.fail("evaluated"))
    (out / "folder.html").mkdir()
    (out / "file").write_text("")
    assert evaluated("--report", out / name) == code
    assert "--report" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "--report " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed")
def test_a_real_evaluation_has_a_report(tiny_bundle, data: Path, out):
    arguments = [
        "--suite",
        str(data / "pairs.csv"),
        "--artifact",
        "fp32-cpu",
        "--report",
        str(out / "a.html"),
    ]
    assert cli.main([str(tiny_bundle), *arguments]) == 0
    assert "cosine_ap" in read((out / "a.html").read_text(encoding="utf-8")).text
