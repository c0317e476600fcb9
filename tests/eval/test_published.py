"""Published numbers and the checks made of them. Needs no mteb."""

from __future__ import annotations

import numpy as np
import pytest

from m3e_eval import golden, published
from m3e_eval.published import AVERAGE, C_MTEB, GOLDEN_COSINES, M3E


@pytest.mark.parametrize("table", [M3E, C_MTEB])
def test_tables_are_complete_and_their_averages_are_the_means(table):
    assert all(len(scores) == len(table.models) for scores in table.rows.values())
    tasks = {task for task, _ in table.rows if task != AVERAGE}
    assert tasks == set(table.metrics)
    rows = [table.rows[task, table.metrics[task]] for task in table.averaged]
    # The authors rounded before or after: half of the last digit in each.
    averages = table.scores(AVERAGE, table.average_metric)
    means = np.mean(rows, axis=0)
    for model, mean in zip(table.models, means, strict=True):
        assert averages[model] == pytest.approx(mean, abs=0.0002)


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ("moka-ai/m3e-base", "m3e-base"),
        ("m3e-small", "m3e-small"),
        ("./m3e-base", "m3e-base"),
        ("/models/of/mine/m3e-large/", "m3e-large-0619"),
        ("shibing624/text2vec-base-chinese", "text2vec"),
        ("someone/m3e-base", None),
        ("m3e-base-finetuned", None),
        ("ada-002", None),
    ],
)
def test_a_checkpoint_is_recognized_by_its_name(source, model):
    assert published.model_of(source, M3E) == model


def test_other_checkpoints_are_reported_as_not_run():
    checks = golden.cosines_not_run("moka-ai/m3e-base")
    assert len(checks) == 4
    assert {check.status for check in checks} == {"not run"}
    assert "made from moka-ai/m3e-base" in checks[0].reason
    assert golden.cosines_not_run("shibing624/text2vec-base-chinese") == []


def test_the_closed_model_is_never_run():
    checks = golden.check_scores("m3e", M3E, "ada-002", {}, {}, {})
    (closed,) = [check for check in checks if check.model == published.ADA_002]
    assert closed.status == "not run"
    assert "closed model" in closed.reason


class _Stub:
    """Gives the published cosines, moved by ``error``."""

    name = "stub"

    def __init__(self, error, precision="fp32"):
        self._error = error
        self.precision = precision

    def cosine(self, first, second):
        cosines = GOLDEN_COSINES["text2vec-base-chinese"]
        return next(g.cosine for g in cosines if (g.first, g.second) == (first, second)) + self._error


@pytest.mark.parametrize(
    ("stub", "status"),
    [
        (_Stub(0.0004), "passed"),
        (_Stub(-0.002), "failed"),
        (_Stub(0.015, "int8"), "passed"),
        (_Stub(0.03, "int8"), "failed"),
        (_Stub(float("nan")), "failed"),
    ],
)
def test_cosines_are_judged(stub, status):
    checks = golden.check_cosines(stub, "shibing624/text2vec-base-chinese")
    assert [check.status for check in checks] == [status] * 4
    assert golden.check_cosines(stub, "moka-ai/m3e-base") == []


def test_scores_are_judged_where_they_were_run():
    checks = golden.check_scores(
        "m3e",
        M3E,
        "moka-ai/m3e-base",
        {"pytorch": "fp32", "int8-native": "int8"},
        {
            ("TNews", "accuracy"): {"pytorch": 0.485, "int8-native": 0.47},
            ("T2RRetrieval", "ndcg_at_10"): {"pytorch": 0.7},
        },
        {"IFlyTek": "the hub did not give IFlyTek"},
    )
    found = {(check.name, check.contestant): check for check in checks}
    assert found["m3e: TNews accuracy", "pytorch"].status == "passed"
    assert found["m3e: TNews accuracy", "int8-native"].status == "passed"
    assert found["m3e: T2RRetrieval ndcg_at_10", "pytorch"].status == "failed"
    assert found["m3e: IFlyTek accuracy", None].reason == "the hub did not give IFlyTek"
    assert found["m3e: JDIphone accuracy", None].reason == "not among the tasks of this run"
    assert len(golden.failed(checks)) == 1
