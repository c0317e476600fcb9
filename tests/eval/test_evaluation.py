"""``m3e-eval`` with the real mteb and the real MiniLM."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys

import pytest

from m3e_eval.cli import main
from m3e_eval.encoder import ArtifactEncoder, load_reference
from m3e_eval.evaluate import evaluate
from m3e_eval.local import read_local
from m3e_eval.request import EvaluationRequest
from m3e_export import ExportRequest, export
from m3e_runtime.backends import native
from m3e_runtime.bundle import Bundle
from synthetic import update_json

_FILES = ("similarity.jsonl", "pairs.csv", "retrieval.tsv", "topics.jsonl")
_RANKING = {"similarity": "cosine_spearman", "pairs": "cosine_ap", "retrieval": "ndcg_at_10"}
_M3E_SETS = {
    "TNews": "validation",
    "JDIphone": "validation",
    "GubaEastmony": "test",
    "TYQSentiment": "validation",
    "StockComSentiment": "validation",
    "IFlyTek": "validation",
}

_NO_MTEB = "mteb is not installed; it has an environment of its own"
needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason=_NO_MTEB)
needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module")
def found(request, minilm, data):
    """MiniLM, every artifact and the original, on all the local files."""
    if importlib.util.find_spec("mteb") is None:
        pytest.skip(_NO_MTEB)
    bundle = request.getfixturevalue("two_precisions")  # an export takes a while; not made for a skipped test
    suites = tuple(str(data / name) for name in _FILES)
    return evaluate(EvaluationRequest(bundle, reference=str(minilm), suites=suites, golden=True))


def _scores(found):
    return {(row.task, row.metric): row.scores for row in found.rows}


def test_every_contestant_has_every_score(found):
    names = {contestant.name for contestant in found.contestants}
    assert {"pytorch", "fp32-cpu", "int8-cpu"} <= names
    assert found.baseline == "pytorch"
    assert set(_scores(found)) == {*_RANKING.items(), ("topics", "accuracy")}
    assert all(set(scores) == names for scores in _scores(found).values())
    assert not found.not_run


def test_the_data_are_worth_ranking(found):
    """Were all scores near chance or at 1, equal scores would show nothing."""
    scores = {task: scores["pytorch"] for (task, _), scores in _scores(found).items()}
    assert 0.8 < scores["similarity"] < 0.99
    assert 0.9 < scores["pairs"] < 1
    assert 0.9 < scores["retrieval"] < 0.999
    assert 0.6 < scores["topics"] < 0.99


def test_fp32_scores_are_those_of_sentence_transformers(found):
    for (task, metric), scores in _scores(found).items():
        for name, score in scores.items():
            if name.startswith("fp32"):
                assert score == pytest.approx(scores["pytorch"], abs=1e-4), (task, metric, name)


def test_int8_keeps_the_ranking_metrics_to_half_a_percent(found):
    for row in found.rows:
        for name, (_, relative) in found.loss(row).items():
            if name.startswith("int8") and row.task in _RANKING:
                assert relative >= -0.005, (row.task, name, relative)
            if name.startswith("int8") and row.task == "topics":
                # Forty texts are judged: each is 2.5 points of accuracy.
                assert relative >= -0.1, (name, relative)


@needs_mteb
def test_our_reference_scores_as_mtebs_own_wrapper(found, minilm_reference, data):
    """The encoder protocol is kept: mteb's wrapper of the same model gives the same numbers."""
    import mteb

    from m3e_eval.tasks import make_task

    for file in _FILES:
        task = make_task(file, read_local(data / file), file)
        result = mteb.evaluate(minilm_reference, task, cache=None, show_progress_bar=False)
        expected = result.task_results[0].scores["test"][0][task.main_score]
        name = file.split(".")[0]
        assert _scores(found)[name, task.main_score]["pytorch"] == pytest.approx(expected, abs=1e-6)


@needs_mteb
def test_encoders_follow_mtebs_protocol(two_precisions, minilm):
    from mteb.models import EncoderProtocol

    bundle = Bundle.open(two_precisions)
    for encoder in (ArtifactEncoder(bundle, "fp32-cpu"), load_reference(str(minilm), bundle)):
        assert isinstance(encoder, EncoderProtocol)
        a, b = encoder.vectors(["你好", "hello"]), encoder.vectors(["hi", "good bye"])
        matrix = encoder.similarity(a, b)
        assert matrix.shape == (2, 2)
        assert encoder.similarity_pairwise(a, b) == pytest.approx(matrix.diagonal(), abs=1e-6)
        assert encoder.mteb_model_meta.name.count("/") == 1


def test_golden_checks_that_do_not_apply_are_reported_as_not_run(found):
    assert {check.status for check in found.checks} == {"not run"}
    assert all(check.reason for check in found.checks)
    models = {check.model for check in found.checks}
    assert {"text2vec-base-chinese", "m3e-base", "m3e-large-0619", "ada-002"} <= models


@needs_mteb
def test_golden_checks_run_when_the_source_says_so(two_precisions, tmp_path, capsys):
    """MiniLM under text2vec's name: the checks are run, and fail."""
    bundle = tmp_path / "bundle"
    shutil.copytree(two_precisions, bundle)
    source = json.loads((bundle / "manifest.json").read_text())["source"]
    update_json(bundle / "manifest.json", source={**source, "id": "shibing624/text2vec-base-chinese"})
    assert main([str(bundle), "--golden", "--json", "--artifact", "fp32-cpu"]) == 3
    checks = json.loads(capsys.readouterr().out)["golden"]
    ran = [check for check in checks if check["status"] != "not run"]
    assert {(check["contestant"], check["model"]) for check in ran} == {("fp32-cpu", "text2vec-base-chinese")}
    assert len(ran) == 4
    (english,) = [check for check in ran if "A man is eating pasta." in check["name"]]
    assert english["expected"] == 0.6734
    assert english["found"] is not None
    reasons = {check["model"]: check["reason"] for check in checks if check["name"].startswith("m3e:")}
    assert reasons["text2vec"] == "--suite m3e was not run"


@needs_mteb
def test_json_and_files(two_precisions, minilm, data, tmp_path, capsys):
    output = tmp_path / "scores"
    arguments = [str(two_precisions), "--reference", str(minilm), "--suite", str(data / "pairs.csv")]
    arguments += ["--artifact", "int8-cpu", "-o", str(output), "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((output / "scores.json").read_text(encoding="utf-8"))
    keys = {"schema_version", "bundle", "source", "mteb", "baseline", "contestants", "rows", "published"}
    assert set(printed) == keys | {"not_run", "golden"}
    assert printed["schema_version"] == 1
    assert [each["name"] for each in printed["contestants"]] == ["pytorch", "int8-cpu"]
    assert set(printed["contestants"][0]) == {"name", "kind", "precision", "engine", "seconds"}
    (row,) = printed["rows"]
    assert set(row) == {"suite", "task", "type", "metric", "split", "data", "scores", "published", "loss"}
    assert (row["task"], row["type"], row["metric"]) == ("pairs", "PairClassification", "cosine_ap")
    loss = row["scores"]["int8-cpu"] - row["scores"]["pytorch"]
    assert row["loss"]["int8-cpu"]["difference"] == pytest.approx(loss, abs=2e-6)
    assert "| pairs | cosine_ap |" in (output / "scores.md").read_text(encoding="utf-8")
    assert (output / "scores.png").exists() == (importlib.util.find_spec("matplotlib") is not None)


@pytest.fixture(scope="module")
def m3e_data(data, tmp_path_factory):
    """Our topics in the names of M3E's sets, and our passages in T2Ranking's form."""
    folder = tmp_path_factory.mktemp("sets")
    rows = [json.loads(line) for line in (data / "topics.jsonl").read_text(encoding="utf-8").splitlines()]
    for name, split in _M3E_SETS.items():
        named = [{**row, "split": {"test": split}.get(row["split"], "train")} for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, named)), encoding="utf-8")
    judged = read_local(data / "retrieval.tsv")
    numbers = {pid: number for number, pid in enumerate(judged.passages)}
    lines = {
        "collection.tsv": [f"{numbers[pid]}\t{text}" for pid, text in judged.passages.items()],
        "queries.dev.tsv": [f"{qid[1:]}\t{text}" for qid, text in judged.queries.items()],
        "qrels.dev.tsv": [
            f"{qid[1:]}\t0\t{numbers[pid]}\t{relevance}"
            for qid, passages in judged.relevant.items()
            for pid, relevance in passages.items()
        ],
    }
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


@needs_mteb
def test_the_m3e_suite_on_local_data(two_precisions, m3e_data, capsys):
    arguments = [str(two_precisions), "--suite", "m3e", "--data", str(m3e_data), "--artifact", "fp32-cpu"]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "ada-002*" in table
    assert "published scores only" in table
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    rows = {(row["task"], row["metric"]): row for row in printed["rows"]}
    assert len(rows) == 6 + 2 + 1
    assert {row["split"] for row in rows.values()} == {"validation", "test", "dev", ""}
    assert rows["TNews", "accuracy"]["published"]["m3e-base"] == 0.4827
    assert rows["T2RRetrieval", "ndcg_at_10"]["published"]["ada-002"] == 0.7786
    accuracies = [row["scores"]["fp32-cpu"] for (task, _), row in rows.items() if task in _M3E_SETS]
    average = rows["average", "accuracy"]
    assert average["scores"]["fp32-cpu"] == pytest.approx(sum(accuracies) / 6, abs=1e-5)
    assert average["published"]["text2vec"] == 0.5755
    assert printed["baseline"] == "fp32-cpu"


@needs_mteb
def test_a_set_that_is_not_there_is_not_run_and_there_is_no_average(
    two_precisions, m3e_data, tmp_path, capsys
):
    folder = tmp_path / "sets"
    folder.mkdir()
    shutil.copy(m3e_data / "TNews.jsonl", folder)
    arguments = [str(two_precisions), "--suite", "m3e", "--data", str(folder), "--artifact", "fp32-cpu"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in printed["rows"]] == ["TNews"]
    assert len(printed["not_run"]) == 6
    assert "no JDIphone" in printed["not_run"][0]["reason"]


@needs_mteb
def test_m3e_sets_have_the_settings_of_mteb_zh(tmp_path):
    from m3e_eval.suites import plan

    planned = {each.name: each for each in plan(("m3e",), tmp_path)}
    assert {name: planned[name].split for name in _M3E_SETS} == _M3E_SETS
    experiments = {name: planned[name].task.n_experiments for name in _M3E_SETS}
    assert experiments == {**dict.fromkeys(_M3E_SETS, 10), "TNews": 5, "IFlyTek": 3}
    assert {planned[name].task.samples_per_label for name in _M3E_SETS} == {32}
    assert planned["T2RRetrieval"].metrics == ("ndcg_at_10", "ndcg_at_1")


@needs_mteb
def test_c_mteb_is_mtebs_own_benchmark(tmp_path):
    from m3e_eval.published import C_MTEB
    from m3e_eval.suites import plan

    planned = {each.name: each for each in plan(("c-mteb",))}
    assert set(planned) == set(C_MTEB.metrics)
    assert planned["MultilingualSentiment"].split == "validation"
    assert planned["STSB"].split == "test"


@needs_mteb
@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        ([], 2, "nothing to do"),
        (["--suite", "nonsense"], 2, "use m3e, c-mteb, code, or files"),
        (["--suite", "c-mteb", "--data", "."], 2, "--data is for --suite m3e"),
        (["--suite", "m3e", "--data", "nowhere"], 2, "no such folder"),
        (["--suite", "m3e", "--tasks", "Nope"], 2, "no such task"),
        (["--suite", "none.csv"], 4, "cannot be read"),
        (["--golden", "--artifact", "fp64"], 2, "has no artifact fp64"),
        (["--golden", "--threads", "0"], 2, "give at least 1"),
        (["--golden", "--reference", "./nowhere"], 4, "no such folder"),
        (["--suite", "m3e", "--data", ".", "--tasks", "TNews"], 4, "no task could be loaded"),
    ],
)
def test_usage_errors(tiny_bundle, tmp_path, monkeypatch, capsys, arguments, code, problem):
    monkeypatch.chdir(tmp_path)
    assert main([str(tiny_bundle), *arguments]) == code
    assert problem in capsys.readouterr().err


@needs_mteb
def test_another_checkpoint_is_no_reference(two_precisions, tiny_checkpoint, data, capsys):
    arguments = ["--reference", str(tiny_checkpoint), "--suite", str(data / "pairs.csv")]
    assert main([str(two_precisions), *arguments]) == 4
    assert "must be the exported checkpoint" in capsys.readouterr().err


def test_without_mteb_the_command_says_what_to_install(tiny_bundle, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mteb", None)
    assert main([str(tiny_bundle), "--golden"]) == 5
    assert "m3e-runtime[eval]" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle(tmp_path):
    assert main([str(tmp_path), "--golden"]) == 4


@needs_mteb
def test_a_checkpoint_without_modules_is_judged_by_its_own_pooling(tmp_path, data):
    """sentence-transformers would take the mean where this checkpoint takes [CLS]."""
    import synthetic

    checkpoint = synthetic.make_checkpoint(
        tmp_path / "uniem", **synthetic.TINY, layout="uniem", pooling="cls"
    )
    judged = tmp_path / "few.txt"
    judged.write_text("\n".join(f"第{i}句 sentence {i}" for i in range(24)), encoding="utf-8")
    request = ExportRequest(str(checkpoint), tmp_path / "bundle", targets=("cpu",), gate=str(judged))
    bundle = export(request).path
    found = evaluate(
        EvaluationRequest(bundle, reference=str(checkpoint), suites=(str(data / "similarity.jsonl"),))
    )
    ((_, relative),) = found.loss(found.rows[0]).values()
    assert relative == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
@needs_mteb
@needs_native
def test_int8_at_the_size_of_m3e_small_keeps_the_ranking(m3e_small_checkpoint, data, tmp_path):
    """Random weights: all cosines lie within .06, so a task score is chance, and a search moves by a step.

    What can be asked of int8 is that it ranks pairs as PyTorch does, whose own cosines are a task here.
    """
    (tmp_path / "calibration.txt").write_text("\n".join(f"第{n}句话" for n in range(20)), encoding="utf-8")
    export_request = ExportRequest(
        str(m3e_small_checkpoint),
        tmp_path / "bundle",
        precisions=("int8",),
        targets=("native",),
        calibration=tmp_path / "calibration.txt",
        gate="off",
    )
    bundle = export(export_request)
    reference = load_reference(str(m3e_small_checkpoint), bundle)
    pairs = read_local(data / "similarity.jsonl")
    cosines = reference.similarity_pairwise(reference.vectors(pairs.first), reference.vectors(pairs.second))
    own = [
        {"text1": first, "text2": second, "score": float(cosine)}
        for first, second, cosine in zip(pairs.first, pairs.second, cosines, strict=True)
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, own)), encoding="utf-8")
    suites = (*(str(data / name) for name in _FILES[:3]), str(tmp_path / "own.jsonl"))
    rows = evaluate(EvaluationRequest(bundle.path, str(m3e_small_checkpoint), suites))
    loss = {row.task: rows.loss(row)["int8-native"] for row in rows.rows}
    assert loss["own"][0] >= -0.002
    assert abs(loss["similarity"][1]) <= 0.005
    assert abs(loss["pairs"][1]) <= 0.005
    # One of 38 queries may lose its best passage to its neighbour.
    assert abs(loss["retrieval"][0]) <= 1 / 38
