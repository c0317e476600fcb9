"""Int8 weights that cannot saturate, and the sizes and fidelity of each precision on the real checkpoint."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3e_export.architectures import Linear
from m3e_export.precision.int8 import PAIR_LIMIT, quantize_linear
from m3e_runtime import Bundle, Encoder
from m3e_runtime.outputs import normalize

WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1e-20, 1e4, -1e4]),
)


def linear(weight):
    return Linear("matrix", weight, np.zeros(weight.shape[1], np.float32))


def pairs(codes):
    wide = codes.astype(np.int64)
    wide = np.concatenate([wide, np.zeros_like(wide[: len(wide) % 2])])
    return wide[0::2], wide[1::2]


def product_without_vnni(activations, codes):
    """What vpmaddubsw + vpmaddwd compute: pairs are added in 16 bits with saturation."""
    even, odd = pairs(codes)
    wide = activations.astype(np.int64)
    wide = np.concatenate([wide, np.zeros_like(wide[:, : wide.shape[1] % 2])], axis=1)
    sums = wide[:, 0::2, None] * even[None] + wide[:, 1::2, None] * odd[None]
    return np.clip(sums, -32768, 32767).sum(axis=1)


@settings(max_examples=300)
@given(WEIGHTS, st.data())
def test_no_pair_of_weights_can_saturate_sixteen_bits(weight, data):
    quantized = quantize_linear(linear(weight))
    even, odd = pairs(quantized.codes)
    assert np.abs(even + odd).max() <= PAIR_LIMIT
    activations = data.draw(
        hnp.arrays(np.uint8, (3, len(weight)), elements=st.integers(0, 255) | st.sampled_from([0, 255]))
    )
    exact = activations.astype(np.int64) @ quantized.codes.astype(np.int64)
    np.testing.assert_array_equal(product_without_vnni(activations, quantized.codes), exact)


def test_plain_per_channel_codes_would_saturate():
    """The trap that the pair limit avoids, so that the emulation above is shown to see it."""
    codes = np.full((4, 1), 127, np.int8)
    activations = np.full((1, 4), 255, np.uint8)
    assert product_without_vnni(activations, codes)[0, 0] < (255 * 127 * 4)


@given(WEIGHTS)
def test_codes_are_within_a_step_of_the_weights(weight):
    quantized = quantize_linear(linear(weight))
    restored = quantized.codes * quantized.scales
    # One step: half for rounding, up to one and a half where a pair had to give way.
    assert (np.abs(restored - weight) <= 1.5 * quantized.scales + 1e-6).all()


def test_the_pair_limit_costs_less_than_half_a_bit():
    weight = np.random.default_rng(0).standard_normal((768, 512)).astype(np.float32)
    ours = quantize_linear(linear(weight)).scales
    plain, seven_bits = np.abs(weight).max(axis=0) / 127, np.abs(weight).max(axis=0) / 63
    assert np.log2(ours / plain).mean() < 0.45
    assert np.log2(ours / seven_bits).mean() < -0.55


def test_smoothing_and_shift_leave_the_exact_product_unchanged():
    random = np.random.default_rng(0)
    x, weight = random.random((5, 16)).astype(np.float32), random.standard_normal((16, 8)).astype(np.float32)
    bias = random.standard_normal(8).astype(np.float32)
    factors = np.exp(0.2 * random.standard_normal(16)).astype(np.float32)
    quantized = quantize_linear(Linear("m", weight, bias), factors, shift=0.17)
    found = ((x + 0.17) * factors) @ (quantized.codes * quantized.scales) + quantized.bias
    np.testing.assert_allclose(found, x @ weight + bias, atol=0.15)


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
    assert (vectors * normalize(expected)).sum(axis=1).mean() >= 0.998
    assert overlap_at_10(vectors, normalize(expected)) >= 0.95


def test_the_manifest_says_what_became_of_every_matrix(minilm_bundle):
    artifacts = {artifact.precision: artifact for artifact in Bundle.open(minilm_bundle).manifest.artifacts}
    assert artifacts["fp32"].mix == {"float32": 24}
    assert artifacts["fp16"].mix == {"float16": 24}
    int8 = artifacts["int8"]
    assert sum(int8.mix.values()) == 24
    assert int8.mix.get("float16", 0) == len(int8.kept)
