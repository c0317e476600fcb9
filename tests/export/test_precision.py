"""Int8 weights that cannot saturate, and the sizes and fidelity of each precision on the real checkpoint."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3e_export.architectures import Linear
from m3e_export.oracle.numpy_forward import ACTIVATIONS
from m3e_export.precision.activations import SHIFTS, SymmetricCodes
from m3e_export.precision.int8 import InputStatistics, quantize_linear
from m3e_export.precision.rounding import SUM_LIMIT, round_in_order, shared_sums, signed_sums
from m3e_runtime import Bundle, Encoder
from m3e_runtime.outputs import normalize

WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1e-20, 1e4, -1e4]),
)


def linear(weight):
    return Linear("matrix", weight, np.zeros(weight.shape[1], np.float32))


def product_without_vnni(activations, codes, together):
    """What vpmaddubsw, vpaddw and vpmaddwd compute: sums in 16 bits, of pairs with saturation."""
    products = activations.astype(np.int64)[:, :, None] * codes.astype(np.int64)

    def added(count):
        of = shared_sums(len(codes), count)
        return np.stack([products[:, of == n].sum(axis=1) for n in range(of.max() + 1)], axis=1)

    pairs = np.clip(added(2), -32768, 32767)
    if together == 2:
        return pairs.sum(axis=1)
    fours = added(4) if np.array_equal(pairs, added(2)) else np.zeros_like(pairs)
    return ((fours + 32768) % 65536 - 32768).sum(axis=1)


def correlated_inputs(rows=4000, inputs=96):
    """Like activations: correlated, off zero, some channels far larger."""
    random = np.random.default_rng(0)
    mixed = random.standard_normal((rows, 12)) @ random.standard_normal((12, inputs))
    x = mixed + 0.3 * random.standard_normal((rows, inputs)) + random.standard_normal(inputs)
    return (x * np.exp(random.standard_normal(inputs))).astype(np.float32)


def statistics_of(x, noise=1e-4):
    return InputStatistics(x.mean(axis=0), np.cov(x, rowvar=False).astype(np.float32), noise)


@pytest.mark.parametrize("together", [2, 4])
@settings(max_examples=300)
@given(WEIGHTS, st.data())
def test_no_sum_of_products_can_leave_sixteen_bits(together, weight, data):
    quantized = quantize_linear(linear(weight), together=together)
    assert (
        signed_sums(quantized.codes.astype(np.float32), shared_sums(len(weight), together)).max() <= SUM_LIMIT
    )
    activations = data.draw(
        hnp.arrays(np.uint8, (3, len(weight)), elements=st.integers(0, 255) | st.sampled_from([0, 255]))
    )
    exact = activations.astype(np.int64) @ quantized.codes.astype(np.int64)
    np.testing.assert_array_equal(product_without_vnni(activations, quantized.codes, together), exact)


@pytest.mark.parametrize("together", [2, 4])
def test_plain_per_channel_codes_would_leave_sixteen_bits(together):
    """The trap that the limit avoids, so that the emulation above is shown to see it."""
    codes = np.full((8, 1), 64 if together == 4 else 127, np.int8)
    activations = np.full((1, 8), 255, np.uint8)
    assert product_without_vnni(activations, codes, together)[0, 0] < (activations @ codes.astype(int))[0, 0]


@pytest.mark.parametrize("together", [2, 4])
@given(WEIGHTS)
def test_codes_are_within_steps_of_the_weights(together, weight):
    quantized = quantize_linear(linear(weight), together=together)
    restored = quantized.codes * quantized.scales
    # Half a step for rounding, and half a step for each other of a sum where the last has to give way.
    assert (np.abs(restored - weight) <= (together + 1) / 2 * quantized.scales + 1e-6).all()


@pytest.mark.parametrize("together", [1, 2, 4])
@pytest.mark.parametrize("inputs", [1, 7, 96, 130])
def test_all_sums_at_once_give_the_codes_of_one_input_after_the_other(together, inputs):
    weight = 60 * np.random.default_rng(inputs).standard_normal((inputs, 40)).astype(np.float32)
    sums, no_feedback = shared_sums(inputs, together), np.zeros((inputs, inputs), np.float32)
    np.testing.assert_array_equal(
        round_in_order(weight, sums, None), round_in_order(weight, sums, no_feedback)
    )


@pytest.mark.parametrize(("together", "bits"), [(2, 0.45), (4, 0.95)])
def test_the_limit_costs_less_than_a_bit(together, bits):
    weight = np.random.default_rng(0).standard_normal((768, 512)).astype(np.float32)
    ours = quantize_linear(linear(weight), together=together).scales
    assert np.log2(ours / (np.abs(weight).max(axis=0) / 127)).mean() < bits


@pytest.mark.parametrize("together", [2, 4])
def test_rounding_with_statistics_keeps_the_products_better(together):
    x = correlated_inputs()
    weight = np.random.default_rng(1).standard_normal((x.shape[1], 40)).astype(np.float32)
    exact = x @ weight

    def error(statistics):
        found = quantize_linear(linear(weight), None, 0.0, together, statistics)
        sums = signed_sums(found.codes.astype(np.float32), shared_sums(len(weight), together))
        assert sums.max() <= SUM_LIMIT
        return np.square(x @ (found.codes * found.scales) + found.bias - exact).mean()

    assert error(statistics_of(x)) < 0.5 * error(None)


def test_the_bias_takes_up_the_mean_of_the_errors():
    x, factors = correlated_inputs(), np.linspace(0.5, 2, 96).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((96, 40)).astype(np.float32)
    found = quantize_linear(linear(weight), factors, 0.17, 2, statistics_of(x))
    products = ((x + np.float32(0.17)) * factors) @ (found.codes * found.scales) + found.bias
    scatter = (products - x @ weight).std(axis=0)
    assert (np.abs((products - x @ weight).mean(axis=0)) < 0.02 * scatter + 1e-4).all()


def test_channels_that_are_always_zero_do_no_harm():
    x = correlated_inputs()
    x[:, ::3] = 0
    weight = np.random.default_rng(1).standard_normal((96, 8)).astype(np.float32)
    found = quantize_linear(linear(weight), None, 0.0, 4, statistics_of(x, noise=0.0))
    relative = (
        np.abs(x @ (found.codes * found.scales) + found.bias - x @ weight).mean() / np.abs(x @ weight).mean()
    )
    assert relative < 0.01


def test_smoothing_and_shift_leave_the_exact_product_unchanged():
    random = np.random.default_rng(0)
    x, weight = random.random((5, 16)).astype(np.float32), random.standard_normal((16, 8)).astype(np.float32)
    bias = random.standard_normal(8).astype(np.float32)
    factors = np.exp(0.2 * random.standard_normal(16)).astype(np.float32)
    quantized = quantize_linear(Linear("m", weight, bias), factors, shift=0.17)
    found = ((x + 0.17) * factors) @ (quantized.codes * quantized.scales) + quantized.bias
    np.testing.assert_allclose(found, x @ weight + bias, atol=0.15)


@pytest.mark.parametrize("activation", SHIFTS)
def test_what_an_activation_gives_is_never_negative_once_shifted(activation):
    lowest = ACTIVATIONS[activation](np.linspace(-5, 5, 100_001, dtype=np.float32)).min()
    assert -1e-6 <= lowest + SHIFTS[activation] < 1e-4
    assert SymmetricCodes().shift("output", activation) == SHIFTS[activation]
    assert SymmetricCodes().shift("qkv", activation) is None


def test_inputs_that_are_never_negative_use_all_codes():
    x = np.random.default_rng(0).random((50, 64)).astype(np.float32)
    errors = [np.abs(SymmetricCodes().rounded(x, shift) - x).mean() for shift in (0.0, None)]
    assert errors[0] < 0.6 * errors[1]


@pytest.fixture(scope="module")
def sizes(minilm_bundle):
    artifacts = Bundle.open(minilm_bundle).manifest.artifacts
    return {artifact.precision: artifact.files[0].size for artifact in artifacts}


def test_fp16_is_half_and_int8_a_quarter_of_fp32(sizes):
    assert sizes["fp16"] <= 0.51 * sizes["fp32"]
    assert sizes["int8"] <= 0.27 * sizes["fp32"]


def test_the_embedding_table_of_int8_is_int8(minilm_bundle):
    model = onnx.load(minilm_bundle / "onnx/model_int8_cpu.onnx")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert types["word_embeddings.codes"] == onnx.TensorProto.INT8
    assert "word_embeddings" not in types


def overlap_at_10(a, b):
    def nearest(vectors):
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -2)
        return np.argsort(-scores, axis=1)[:, :10]

    return np.mean([len(np.intersect1d(x, y)) / 10 for x, y in zip(nearest(a), nearest(b), strict=True)])


@pytest.fixture(scope="module")
def judged(minilm_bundle, minilm_reference, gate_texts):
    """Vectors of sentence-transformers, and of each artifact encoded as one list."""
    expected = minilm_reference.encode(gate_texts)
    names = ("fp32-cpu", "fp16-cpu", "int8-cpu")
    return expected, {name: Encoder.load(minilm_bundle, artifact=name).encode(gate_texts) for name in names}


def test_fp32_equals_sentence_transformers_to_1e_5(judged):
    expected, found = judged
    assert np.abs(found["fp32-cpu"] - expected).max() <= 1e-5
    cosines = (normalize(found["fp32-cpu"]).astype(np.float64) * normalize(expected)).sum(axis=1)
    assert cosines.min() >= 0.99999


def test_fp16_runs_on_a_cpu_and_is_right(judged):
    expected, found = judged
    assert (normalize(found["fp16-cpu"]) * normalize(expected)).sum(axis=1).min() >= 0.9995


def test_int8_keeps_cosine_and_ranking_on_the_real_checkpoint(judged):
    expected, found = judged
    vectors = normalize(found["int8-cpu"])
    assert (vectors * normalize(expected)).sum(axis=1).mean() >= 0.999
    assert overlap_at_10(vectors, normalize(expected)) >= 0.96


def test_the_manifest_says_what_became_of_every_matrix(minilm_bundle):
    artifacts = {artifact.precision: artifact for artifact in Bundle.open(minilm_bundle).manifest.artifacts}
    assert artifacts["fp32"].mix == {"float32": 24}
    assert artifacts["fp16"].mix == {"float16": 24}
    int8 = artifacts["int8"]
    assert sum(int8.mix.values()) == 24
    assert int8.mix.get("float16", 0) == len(int8.kept)
