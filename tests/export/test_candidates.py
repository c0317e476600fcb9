"""The loop of every exporter: the first candidate that passes the gate, and no other."""

import logging

import numpy as np
import pytest

from m3e_export import ExportRequest
from m3e_export.candidates import Written, first_passing
from m3e_export.errors import BelowGateError
from m3e_export.gate import Gate, judge
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.record import ExportRecord

VECTORS = np.random.default_rng(0).standard_normal((24, 8)).astype(np.float32)


def gate(enforced=True):
    return Gate(tuple(f"text {n}" for n in range(len(VECTORS))), "an oracle", VECTORS, enforced)


def written(vectors, plan=None):
    verdict = judge(gate(), vectors, "int8")
    return Written.judged("int8", "cpu", "onnxruntime", plan or PrecisionPlan(), ("a", "b"), (), verdict)


@pytest.fixture
def record(tmp_path):
    return ExportRecord(ExportRequest("checkpoint", tmp_path))


def test_the_first_that_passes_is_returned_and_no_later_one_is_written(record):
    def candidates():
        yield written(-VECTORS)
        yield good
        pytest.fail("a candidate was written after one had passed")

    good = written(VECTORS * 2)
    assert first_passing(candidates(), gate(), record, "") is good
    assert [bool(each.problems) for each in record.candidates] == [True, False]


def test_where_none_passes_the_error_names_the_last_problems_and_a_remedy(record):
    with pytest.raises(BelowGateError, match=r"int8-cpu is below the gate: mean_cosine .* Take fp16\."):
        first_passing([written(-VECTORS), written(-VECTORS)], gate(), record, "Take fp16.")
    assert len(record.candidates) == 2


def test_a_gate_that_is_off_lets_a_candidate_pass_with_a_warning(record, caplog):
    bad = written(-VECTORS)
    with caplog.at_level(logging.WARNING):
        assert first_passing([bad], gate(enforced=False), record, "") is bad
    assert "int8-cpu is below the gate" in caplog.text


@pytest.mark.parametrize("enforced", [True, False])
def test_vectors_that_are_not_finite_never_pass(record, enforced):
    with pytest.raises(BelowGateError, match=r"not finite numbers.*try --precision fp32"):
        first_passing([written(VECTORS * np.nan)], gate(enforced), record, "--gate off")


def test_a_candidate_says_which_matrices_are_above_its_precision():
    plan = PrecisionPlan(np.float16, quantized={"b": None}, wide=frozenset({"a"}))
    assert written(VECTORS, plan).candidate.mix == {"int8": 1, "float32": 1}
    assert written(VECTORS, plan).candidate.kept == ("a",)
    assert plan.kept("fp16", ("a", "b", "c")) == ("a",)
