"""Calibration: texts that run together, and sums of products that wait on disk."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from m3e_export import parallel
from m3e_export.checkpoint import load_checkpoint
from m3e_export.inputs import model_inputs
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.precision.calibration import calibrate
from m3e_export.precision.input_sample import InputSample, ProductSums, rows_of_texts
from m3e_export.precision.rounding import error_feedback

random = np.random.default_rng(0)


@pytest.fixture(scope="module")
def checkpoint(minilm):
    return load_checkpoint(str(minilm))


@pytest.fixture(scope="module")
def calibration(checkpoint, texts, tmp_path_factory):
    return calibrate(
        checkpoint,
        model_inputs(checkpoint, texts),
        lambda layers: None,
        tmp_path_factory.mktemp("calibration"),
    )


@pytest.mark.parametrize("inputs", [1, 383, 384, 385, 800])
@pytest.mark.parametrize("stored", [False, True])
def test_tiles_are_the_sum_of_the_products(inputs, stored, tmp_path):
    blocks = [random.standard_normal((n, inputs)).astype(np.float32) for n in (3, 1, 40)]
    sums = ProductSums(inputs)
    for tile in sums.tiles:
        sums.add(tile, blocks[:2])
        sums.add(tile, blocks[2:])
    if stored:
        sums.store(tmp_path)
    x = np.concatenate(blocks)
    for _ in range(2):  # a second target reads it again
        np.testing.assert_allclose(sums.matrix(), x.T @ x, atol=1e-4)
    np.testing.assert_array_equal(sums.matrix(), sums.matrix().T)


@pytest.mark.parametrize("stored", [False, True])
def test_a_sample_has_the_covariance_of_its_rows(stored, tmp_path):
    x = random.standard_normal((200, 5)).astype(np.float32) @ random.standard_normal((5, 5)).astype(
        np.float32
    )
    sample = InputSample(5)
    sample.add(x[:50])
    sample.add(x[50:])
    rows = sample.rows()
    assert {tuple(row) for row in rows} <= {tuple(row) for row in x}
    if stored:
        sample.store(tmp_path)
    np.testing.assert_array_equal(sample.rows(), rows)
    np.testing.assert_allclose(sample.covariance(), np.cov(x, rowvar=False, bias=True), atol=1e-4)
    np.testing.assert_array_equal(sample.largest, np.abs(x).max(axis=0))


@pytest.mark.parametrize("texts", [1, 20, 128, 383, 384, 1000])
def test_rows_come_from_all_parts_of_the_texts(texts):
    rows = np.array(rows_of_texts(texts))
    assert len(rows) == texts
    assert rows.sum() == min(384, 8 * texts)
    assert np.diff(np.flatnonzero(rows), prepend=-1).max() <= texts / 384 + 2


def test_calibration_sees_what_one_text_after_the_other_shows(checkpoint, calibration, texts):
    seen = {}
    forward = NumpyForward(
        checkpoint.spec, checkpoint.weights, lambda linear, x: seen.setdefault(linear.name, []).append(x)
    )
    for ids in checkpoint.text_tokenizer().encode_batch(texts):
        forward.states(ids)
    assert seen.keys() == calibration.samples.keys()
    for name, inputs in seen.items():
        x, sample = np.concatenate(inputs), calibration.samples[name]
        scale = np.abs(x).max()
        np.testing.assert_allclose(sample.largest, np.abs(x).max(axis=0), atol=1e-4 * scale)
        np.testing.assert_allclose(sample.mean(), x.mean(axis=0), atol=1e-4 * scale)
        np.testing.assert_allclose(
            sample.covariance(), np.cov(x, rowvar=False, bias=True), atol=1e-4 * scale**2
        )


def test_calibration_gives_the_vectors_of_the_oracle(checkpoint, calibration, texts):
    expected = NumpyOracle(checkpoint).encode(texts, lambda count: None)
    found = calibration.vectors / np.linalg.norm(calibration.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_calibration_gives_the_same_bytes_with_any_number_of_threads(
    threads, checkpoint, calibration, texts, tmp_path, monkeypatch
):
    monkeypatch.setattr(parallel, "available_threads", lambda: threads)
    with threadpool_limits(threads, "blas"):
        again = calibrate(checkpoint, model_inputs(checkpoint, texts), lambda layers: None, tmp_path)
    np.testing.assert_array_equal(again.vectors, calibration.vectors)
    for name, sample in calibration.samples.items():
        np.testing.assert_array_equal(again.samples[name].rows(), sample.rows())
        np.testing.assert_array_equal(again.samples[name].covariance(), sample.covariance())


@pytest.mark.parametrize("inputs", [1, 5, 127, 128, 129, 300])
def test_the_decomposition_is_that_of_numpy(inputs):
    x, factors = random.standard_normal((2 * inputs + 5, inputs)), np.linspace(0.5, 2, inputs)
    covariance = (x.T @ x / len(x)).astype(np.float32)
    unit = error_feedback(covariance, factors.astype(np.float32), 0.1).astype(np.float64)
    np.testing.assert_array_equal(unit, np.triu(unit, 1))
    whole = covariance * np.outer(factors, factors)
    whole[np.diag_indices(inputs)] += 0.1 + 0.01 * np.trace(whole) / inputs
    rest = np.linalg.inv(unit + np.eye(inputs)) @ whole @ np.linalg.inv(unit + np.eye(inputs)).T
    np.testing.assert_allclose(rest, np.diag(np.diag(rest)), atol=1e-4 * np.abs(whole).max())
