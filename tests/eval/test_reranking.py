"""``m3e-eval`` of rerankers: metrics by mteb, against plain formulas on CrossEncoder's scores."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import pytest

from m3e_eval.cli import main
from m3e_eval.local import read_local
from m3e_eval.scorer import ArtifactScorer, load_scorer
from m3e_export import ExportRequest, export
from m3e_export.errors import CheckpointError
from scoring_bundles import make_classifier

_NO_MTEB = "mteb is not installed; it has an environment of its own"
needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason=_NO_MTEB)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny reranker with random weights."""
    return make_classifier(tmp_path_factory.mktemp("reranking") / "tiny-reranker")


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    """The reranker in fp32 and fp16, not judged."""
    folder = tmp_path_factory.mktemp("reranking") / "bundle"
    request = ExportRequest(str(checkpoint), folder, ("fp32", "fp16"), ("cpu",), gate="off", oracle="numpy")
    return export(request)


@pytest.fixture(scope="module")
def judged(data):
    """The queries with their passages."""
    return read_local(data / "retrieval.tsv")


@pytest.fixture(scope="module")
def expected(checkpoint, bundle, judged):
    """nDCG@10, MRR@10 and MAP of the original's order."""
    reference = load_scorer(str(checkpoint), bundle)
    found: dict[str, list[float]] = {"ndcg_at_10": [], "mrr_at_10": [], "map_at_1000": []}
    for query, relevances in judged.relevant.items():
        passages = [judged.passages[pid] for pid in relevances]
        order = np.argsort(-reference.scores([judged.queries[query]] * len(passages), passages))
        relevance = [list(relevances.values())[place] for place in order]
        dcg, ideal = (
            sum(gain / math.log2(place + 2) for place, gain in enumerate(gains[:10]))
            for gains in (relevance, sorted(relevance, reverse=True))
        )
        places = [place for place, gain in enumerate(relevance, start=1) if gain]
        found["ndcg_at_10"].append(dcg / ideal)
        found["mrr_at_10"].append(1 / places[0] if places[0] <= 10 else 0)
        found["map_at_1000"].append(sum(n / place for n, place in enumerate(places, start=1)) / len(places))
    return {name: float(np.mean(values)) for name, values in found.items()}


@needs_mteb
def test_scores_are_those_of_the_formulas(bundle, checkpoint, data, expected, capsys):
    suite = str(data / "retrieval.tsv")
    assert main([str(bundle.path), "--reference", str(checkpoint), "--suite", suite, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["contestants"]] == ["pytorch", "fp32-cpu", "fp16-cpu"]
    assert not found["not_run"]
    rows = {row["metric"]: row["scores"] for row in found["rows"]}
    assert set(rows) == set(expected)
    for metric, scores in rows.items():
        assert scores["pytorch"] == pytest.approx(expected[metric], abs=1e-5), metric
        assert scores["fp32-cpu"] == scores["pytorch"]


def test_an_artifact_scores_as_the_original(bundle, checkpoint):
    queries, passages = ["the weather", "你好"], ["is good today", "world"]
    ours, theirs = ArtifactScorer(bundle, "fp32-cpu"), load_scorer(str(checkpoint), bundle)
    np.testing.assert_allclose(
        ours.scores(queries, passages), theirs.scores(queries, passages), rtol=0, atol=1e-5
    )
    loaders = [[{"text": queries[:1]}, {"text": queries[1:]}], [{"text": passages}]]
    np.testing.assert_array_equal(ours.predict(*loaders), ours.scores(queries, passages))


def test_a_classifier_is_no_reference_of_a_reranker(bundle, tmp_path):
    classifier = make_classifier(tmp_path / "classifier", labels=3)
    with pytest.raises(CheckpointError, match="3 labels"):
        load_scorer(str(classifier), bundle)


@needs_mteb
@pytest.mark.parametrize(
    ("suite", "code", "problem"),
    [("m3e", 2, "no task for a reranker"), ("pairs.csv", 4, "query, passage, relevance")],
)
def test_tasks_that_are_not_for_rerankers_are_refused(bundle, data, suite, code, problem, capsys):
    assert main([str(bundle.path), "--suite", suite if suite == "m3e" else str(data / suite)]) == code
    assert problem in capsys.readouterr().err


@needs_mteb
def test_c_mteb_has_reranking_tasks():
    from m3e_eval.suites import plan

    names = {planned.name for planned in plan(["c-mteb"], ranks=True)}
    assert names == {"CMedQAv1-reranking", "CMedQAv2-reranking", "MMarcoReranking", "T2Reranking"}


def test_a_classifier_of_several_labels_is_refused(tmp_path, data, capsys):
    checkpoint = make_classifier(tmp_path / "classifier", labels=3)
    request = ExportRequest(
        str(checkpoint), tmp_path / "bundle", ("fp32",), ("cpu",), gate="off", oracle="numpy"
    )
    bundle = export(request)
    assert main([str(bundle.path), "--suite", str(data / "retrieval.tsv")]) == 2
    assert "3 labels" in capsys.readouterr().err
