"""The native engine on encoders after BERT: numpy's vectors, and the same bytes in every batch."""

from pathlib import Path

import numpy as np
import pytest

from m3e_export.architectures import EncoderSpec, EncoderWeights
from m3e_export.native import save_native
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from random_encoders import KINDS, random_encoder

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

PRECISIONS = ("fp32", "fp16", "int8")
LENGTHS = [12, 300, 1, 65, 12, 48]
LONG = 2100


def instruction_sets() -> list[str]:
    if native.missing():
        return []
    from m3e_runtime._native import instruction_sets as usable

    return usable().split()


def plan_of(precision: str, weights: EncoderWeights) -> PrecisionPlan:
    if precision != "int8":
        return float_plan(precision)
    linears = weights.linears()
    return PrecisionPlan(quantized={each.name: quantize_linear(each, together=4) for each in linears})


def texts_of(lengths: list[int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 500, size=length).astype(np.int32) for length in lengths]


def states_of(spec: EncoderSpec, weights: EncoderWeights, texts: list[np.ndarray]) -> list[np.ndarray]:
    forward = NumpyForward(spec, weights)
    return [forward(text) for text in texts]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest 1 - cosine of the rows."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float((1 - (found * expected).sum(axis=1) / norms).max())


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Write an encoder once for each kind and precision."""
    written: dict[tuple[str, str, int], Path] = {}

    def write(kind: str, precision: str = "fp32", positions: int = 512) -> Path:
        key = (kind, precision, positions)
        if key not in written:
            spec, weights = random_encoder(kind, positions)
            file = tmp_path_factory.mktemp("encoder") / "weights"
            save_native(spec, weights, plan_of(precision, weights), "mean", False, file)
            written[key] = file
        return written[key]

    return write


@pytest.fixture(scope="module")
def expected():
    """Numpy's states of each kind."""
    texts = texts_of(LENGTHS)
    return {kind: states_of(*random_encoder(kind), texts) for kind in KINDS}


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("kind", KINDS)
def test_fp32_is_numpy_to_1e_6(save, expected, kind, instruction_set):
    _, found = NativeCpu(save(kind), 2, instruction_set=instruction_set).run_tokens(texts_of(LENGTHS))
    for states, right in zip(found, expected[kind], strict=True):
        assert distance(states, right) <= 1e-6
        np.testing.assert_allclose(states, right, atol=2e-4)


@pytest.mark.parametrize("kind", ["nomic", "modernbert", "jina"])
def test_a_long_text_is_numpy_to_1e_6(save, kind):
    texts = texts_of([LONG])
    (right,) = states_of(*random_encoder(kind, LONG), texts)
    engines = {precision: NativeCpu(save(kind, precision, LONG), 2) for precision in ("fp32", "int8")}
    found = {precision: engine.run_tokens(texts)[1][0] for precision, engine in engines.items()}
    assert distance(found["fp32"], right) <= 1e-6
    assert distance(found["int8"], right) <= 0.02
    assert distance(found["int8"].mean(axis=0)[None], right.mean(axis=0)[None]) <= 0.002


@pytest.mark.parametrize(("precision", "most"), [("fp16", 1e-4), ("int8", 0.01)])
@pytest.mark.parametrize("kind", KINDS)
def test_other_precisions_are_near(save, expected, kind, precision, most):
    vectors = NativeCpu(save(kind, precision), 1).run(texts_of(LENGTHS))
    right = np.stack([states.mean(axis=0) for states in expected[kind]])
    assert distance(vectors, right) <= most


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_gives_the_same_bytes_in_any_batch_and_with_any_threads(save, kind, precision):
    file, texts = save(kind, precision), texts_of(LENGTHS)
    for names in (native.same_bytes_on("avx2"), native.same_bytes_on("portable")):
        right = None
        for name in set(names) & set(instruction_sets()):
            alone = NativeCpu(file, 1, instruction_set=name)
            vectors = np.stack([alone.run([text])[0] for text in texts])
            right = vectors if right is None else right
            np.testing.assert_array_equal(vectors, right)
            for threads in (1, 2, 5):
                engine = NativeCpu(file, threads, instruction_set=name)
                np.testing.assert_array_equal(engine.run(texts), right)
                np.testing.assert_array_equal(engine.run(texts[2:4]), right[2:4])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kind", ["modernbert", "jina"])
def test_a_long_text_gives_the_same_bytes_with_any_threads(save, kind, precision):
    file, texts = save(kind, precision, LONG), texts_of([LONG, 700])
    right = NativeCpu(file, 1).run(texts)
    for threads in (2, 5):
        np.testing.assert_array_equal(NativeCpu(file, threads).run(texts), right)
    np.testing.assert_array_equal(NativeCpu(file, 3).run(texts[1:]), right[1:])
