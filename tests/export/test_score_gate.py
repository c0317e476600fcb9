"""The gate for scores: its measures against plain loops, and what it refuses."""

import math

import numpy as np
import pytest

from m3e_export.gate import judge
from m3e_export.score_gate import DEFAULT_SCORE_THRESHOLDS, ScoreGate, compare_scores


def gate_of(groups, logits, enforced=True):
    """A gate of queries with so many passages each."""
    queries = tuple(f"query {number}" for number, size in enumerate(groups) for _ in range(size))
    passages = tuple(f"passage {number}" for number in range(sum(groups)))
    return ScoreGate(queries, passages, "an oracle", np.asarray(logits, np.float32), enforced)


def column(*values):
    return np.array(values, np.float32)[:, None]


@pytest.fixture
def random_gate():
    """Queries with one to fourteen passages."""
    groups = [8, 1, 14, 9, 2]
    return gate_of(groups, np.random.default_rng(3).normal(size=(sum(groups), 1)))


def loops(gate, scores):
    """The share of orders kept, and nDCG@10 of each group, as the definitions say."""
    kept, counted, ndcgs = 0, 0, []
    for group in gate.groups:
        wanted, found = gate.vectors[group, 0].astype(float), scores[group, 0].astype(float)
        clear = [[a - b > gate.resolution for b in wanted] for a in wanted]
        for first, ahead in enumerate(clear):
            for second, is_clear in enumerate(ahead):
                counted += is_clear
                kept += is_clear and found[first] > found[second]
        gains = [sum(ahead) for ahead in clear]
        by_found = sorted(range(len(found)), key=lambda at, found=found: -found[at])[:10]
        dcg = sum(gains[at] / math.log2(place + 2) for place, at in enumerate(by_found))
        ideal = sum(gain / math.log2(n + 2) for n, gain in enumerate(sorted(gains, reverse=True)[:10]))
        ndcgs.append(dcg / ideal if ideal else 1.0)
    return kept / counted, ndcgs


@pytest.mark.parametrize("noise", [0.01, 0.3, 3])
def test_measures_are_those_of_their_definitions(random_gate, noise):
    scores = random_gate.vectors + np.random.default_rng(4).normal(0, noise, (34, 1)).astype(np.float32)
    found = compare_scores(random_gate, scores, "int8")
    kept, ndcgs = loops(random_gate, scores)
    assert found.fidelity.order_kept == pytest.approx(kept, abs=1e-6)
    assert found.ndcg == pytest.approx(ndcgs)
    assert found.fidelity.ndcg_at_10 == pytest.approx(np.mean(ndcgs), abs=1e-6)
    differences = np.abs(scores - random_gate.vectors)
    assert found.fidelity.max_difference == pytest.approx(differences.max(), rel=1e-2)
    assert found.fidelity.mean_difference == pytest.approx(differences.mean(), rel=1e-2)
    assert (found.fidelity.groups, found.fidelity.pairs) == (5, 34)


def test_a_shift_and_a_scale_keep_every_order(random_gate):
    found = compare_scores(random_gate, random_gate.vectors * 3 + 1, "int8").fidelity
    assert (found.order_kept, found.ndcg_at_10) == (1, 1)


def test_the_reversed_order_keeps_nothing(random_gate):
    found = compare_scores(random_gate, -random_gate.vectors, "int8")
    assert found.fidelity.order_kept == 0
    assert found.ndcg[4] == pytest.approx(1 / math.log2(3))  # of two passages


def test_orders_that_the_oracle_hardly_tells_apart_do_not_count():
    gate = gate_of([4], column(5, -5, -5.001, -5.002))
    found = compare_scores(gate, column(4, -5.3, -5.2, -5.1), "int8").fidelity
    assert (found.order_kept, found.ndcg_at_10) == (1, 1)
    assert compare_scores(gate, column(-6, -5, -5, -5), "int8").fidelity.order_kept == 0


def test_equal_scores_keep_no_order():
    assert compare_scores(gate_of([3], column(1, 2, 3)), column(0, 0, 0), "int8").fidelity.order_kept == 0


def test_without_an_order_nothing_is_lost():
    gate = gate_of([1, 1], column(1, 2))
    found = compare_scores(gate, column(7, 7), "int8").fidelity
    assert (found.order_kept, found.ndcg_at_10) == (1, 1)


def test_several_labels_are_judged_by_the_most_likely_one():
    logits = np.array([[3, 1, 0], [0, 2, 1], [1.000, 1.001, 0], [0, 0, 5]], np.float32)
    gate = ScoreGate(("a", "b", "c", "d"), (), "an oracle", logits, enforced=True)
    changed = logits.copy()
    changed[2] = (1.2, 1.0, 0)  # the oracle hardly tells its two labels apart
    assert compare_scores(gate, changed, "int8").fidelity.order_kept == 1
    changed[3] = (6, 0, 5)
    found = compare_scores(gate, changed, "int8")
    assert found.fidelity.order_kept == pytest.approx(2 / 3, abs=1e-6)
    assert found.fidelity.ndcg_at_10 == 1
    assert found.worst[0] == slice(3, 4)


def test_single_texts_of_one_label_are_one_group():
    gate = ScoreGate(("a", "b", "c"), (), "an oracle", column(1, 2, 3), enforced=True)
    assert compare_scores(gate, column(1, 3, 2), "int8").fidelity.order_kept == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_difference_beyond_the_threshold_is_named(random_gate, precision):
    limit = DEFAULT_SCORE_THRESHOLDS[precision].max_difference
    below = judge(random_gate, random_gate.vectors + np.float32(limit / 2), precision)
    beyond = judge(random_gate, random_gate.vectors + np.float32(limit * 2), precision)
    assert below.problems == ()
    assert len(beyond.problems) == 1
    assert beyond.problems[0].startswith("max_difference ")


def test_int8_is_judged_by_its_orders(random_gate):
    problems = judge(random_gate, -random_gate.vectors, "int8").problems
    assert [problem.split()[0] for problem in problems] == ["order_kept", "ndcg_at_10"]
    assert judge(random_gate, random_gate.vectors + 1, "int8").problems == ()


def test_scores_that_are_not_finite_have_no_comparison(random_gate):
    scores = random_gate.vectors.copy()
    scores[3] = np.nan
    assert judge(random_gate, scores, "int8").comparison is None


def test_the_worst_groups_come_first(random_gate):
    scores = random_gate.vectors.copy()
    scores[random_gate.groups[2]] *= -1
    assert compare_scores(random_gate, scores, "int8").worst[0] == random_gate.groups[2]
