"""Token types in the native engine: what is added to which token."""

import numpy as np
import pytest

from classifier_weights import write_classifier
from m3e_runtime.backends import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

IDS = np.array([101, 7, 9, 102, 8, 9, 102], np.int32)
TYPES = np.array([0, 0, 0, 0, 1, 2, 1], np.int32)
DIFFERENCES = np.random.default_rng(3).normal(0, 0.2, (2, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def plain(tiny_bundle):
    return tiny_bundle / "native" / "model_fp32_native.safetensors"


@pytest.fixture(scope="module")
def engine(plain, tmp_path_factory):
    from m3e_runtime._native import NativeEncoder

    file = tmp_path_factory.mktemp("types") / "model.safetensors"
    write_classifier(plain, file, types=DIFFERENCES)
    return NativeEncoder(file, 2)


def encode(engine, ids, types=None):
    vectors = np.empty((1, engine.dimension), np.float32)
    engine.encode(ids, np.array([0, len(ids)], np.int64), vectors, token_types=types)
    return vectors[0]


def test_a_type_adds_its_row(engine, plain, tmp_path):
    """The model whose words contain the types gives the same states."""
    from safetensors import safe_open

    from m3e_runtime._native import NativeEncoder

    with safe_open(plain, "np") as file:
        words = file.get_tensor("word_embeddings")
    renamed = np.where(TYPES == 0, IDS, 20 + np.arange(len(IDS), dtype=np.int32))
    for old, new, kind in zip(IDS, renamed, TYPES, strict=True):
        words[new] = words[old] + (DIFFERENCES[kind - 1] if kind else 0)
    write_classifier(plain, tmp_path / "words", changed={"word_embeddings": words})
    expected = encode(NativeEncoder(tmp_path / "words"), renamed)
    np.testing.assert_allclose(encode(engine, IDS, TYPES), expected, atol=1e-5)
    assert np.abs(encode(engine, IDS) - expected).max() > 1e-2


def test_without_types_every_token_has_type_0(engine):
    np.testing.assert_array_equal(encode(engine, IDS), encode(engine, IDS, np.zeros(7, np.int32)))


@pytest.mark.parametrize("unknown", [-1, 3])
def test_a_type_that_the_model_does_not_have_is_named(engine, unknown):
    assert engine.token_types == 3
    with pytest.raises(ValueError, match=f"token type {unknown} is unknown; .* below 3"):
        encode(engine, IDS, np.full(7, unknown, np.int32))


def test_a_model_without_types_takes_type_0_alone(plain):
    from m3e_runtime._native import NativeEncoder

    engine = NativeEncoder(plain)
    assert engine.token_types == 1
    np.testing.assert_array_equal(encode(engine, IDS), encode(engine, IDS, np.zeros(7, np.int32)))
    with pytest.raises(ValueError, match="token type 1 is unknown"):
        encode(engine, IDS, TYPES)


@pytest.mark.parametrize(
    ("types", "named"),
    [
        (DIFFERENCES[:, :63], "'token_type_embeddings' has another shape"),
        (DIFFERENCES.astype(np.float16), "'token_type_embeddings' is F16"),
        (np.empty((0, 64), np.float32), "token_types = '1'"),
    ],
)
def test_damaged_types_are_named(plain, tmp_path, types, named):
    from m3e_runtime._native import NativeEncoder

    write_classifier(plain, tmp_path / "model", types=types)
    with pytest.raises(ValueError, match=named):
        NativeEncoder(tmp_path / "model")
