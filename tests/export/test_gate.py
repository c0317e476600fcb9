"""The gate's measures against a second, slower computation, and what does not pass."""

import msgspec
import numpy as np
import pytest

from m3e_export.gate import DEFAULT_THRESHOLDS, Gate, compare, failures

MEASURES = ("mean_cosine", "p1_cosine", "min_cosine", "overlap_at_10", "spearman")


def gate(reference, enforced=True):
    texts = tuple(f"text {n}" for n in range(len(reference)))
    return Gate(texts, "an oracle", reference.astype(np.float32), enforced)


def measure(*arguments):
    return compare(*arguments).fidelity


def vectors(noise, count=40, dimension=16):
    random = np.random.default_rng(3)
    reference = random.standard_normal((count, dimension)).astype(np.float32)
    changed = reference + noise * random.standard_normal((count, dimension)).astype(np.float32)
    return reference, changed.astype(np.float32)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def ranks(values):
    return [sum(other < value for other in values) for value in values]


def recomputed(reference, found):
    count = len(reference)
    cosines = sorted(cosine(a, b) for a, b in zip(reference, found, strict=True))

    def scores(table):
        return [[cosine(a, b) for b in table] for a in table]

    wanted, got = scores(reference), scores(found)

    def neighbours(table, row):
        others = sorted((n for n in range(count) if n != row), key=lambda n: -table[row][n])
        return set(others[: min(10, count - 1)])

    shared = [len(neighbours(wanted, n) & neighbours(got, n)) / min(10, count - 1) for n in range(count)]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    a, b = (np.array(ranks([table[i][j] for i, j in pairs]), float) for table in (wanted, got))
    a, b = a - a.mean(), b - b.mean()
    position = 0.01 * (count - 1)
    low = int(position)
    return {
        "mean_cosine": sum(cosines) / count,
        "p1_cosine": cosines[low] + (position - low) * (cosines[low + 1] - cosines[low]),
        "min_cosine": cosines[0],
        "overlap_at_10": sum(shared) / count,
        "spearman": float(a @ b / np.sqrt((a @ a) * (b @ b))),
    }


@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("count", [5, 40])
def test_every_measure_equals_its_definition(noise, count):
    reference, found = vectors(noise, count)
    measured = measure(gate(reference), found, "int8")
    expected = recomputed(reference, found)
    assert {name: getattr(measured, name) for name in MEASURES} == pytest.approx(expected, abs=2e-6)
    assert measured.max_abs_difference == pytest.approx(np.abs(reference - found).max(), rel=1e-2)
    assert measured.texts == count


def test_the_originals_own_vectors_are_perfect_whatever_their_length():
    reference, _ = vectors(0)
    measured = measure(gate(reference), reference * 7, "fp32")
    assert [getattr(measured, name) for name in MEASURES] == [1.0] * len(MEASURES)
    assert not failures(measured)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("precision", DEFAULT_THRESHOLDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_vector_that_is_not_finite_fails_the_gate(broken, precision):
    reference, found = vectors(0)
    found = found.copy()
    found[7, 3] = broken
    assert failures(measure(gate(reference), found, precision))


def test_a_vector_of_zeros_fails_the_gate_of_exact_precisions():
    reference, found = vectors(0)
    found = found.copy()
    found[0] = 0
    assert failures(measure(gate(reference), found, "fp32"))


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ("fp32", "min_cosine"),
        ("fp16", "min_cosine"),
        ("int8", "mean_cosine"),
        ("int8", "p1_cosine"),
        ("int8", "overlap_at_10"),
    ],
)
def test_the_threshold_itself_passes_and_less_is_named(precision, name):
    reference, _ = vectors(0)
    limit = getattr(DEFAULT_THRESHOLDS[precision], name)
    perfect = measure(gate(reference), reference, precision)
    assert failures(msgspec.structs.replace(perfect, **{name: limit})) == []
    below = failures(msgspec.structs.replace(perfect, **{name: limit - 1e-6}))
    assert len(below) == 1
    assert name in below[0]
    assert str(limit) in below[0]


def test_default_thresholds_are_the_promised_ones():
    promised = {
        "fp32": {"min_cosine": 0.99999},
        "fp16": {"min_cosine": 0.9995},
        "int8": {"mean_cosine": 0.998, "p1_cosine": 0.995, "overlap_at_10": 0.95},
    }
    for precision, bounds in promised.items():
        thresholds = msgspec.structs.asdict(DEFAULT_THRESHOLDS[precision])
        assert {name: bound for name, bound in thresholds.items() if bound} == bounds
