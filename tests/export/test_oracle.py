"""The numpy oracle, which judges where torch is absent, against sentence-transformers."""

import numpy as np
import pytest

from m3e_export.architectures.settings import ACTIVATION_NAMES
from m3e_export.checkpoint import load_checkpoint
from m3e_export.oracle import load_oracle
from m3e_export.oracle.equal_lengths import equal_lengths
from m3e_export.oracle.numpy_forward import ACTIVATIONS


def oracle_vectors(checkpoint, name, texts):
    done = []
    found = load_oracle(load_checkpoint(str(checkpoint)), name).encode(texts, done.append)
    assert sum(done) == len(texts)
    return found


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_oracles_give_sentence_transformers_vectors_of_minilm(name, minilm, minilm_reference, texts):
    expected = minilm_reference.encode(texts)
    np.testing.assert_allclose(oracle_vectors(minilm, name, texts), expected, atol=1e-5, rtol=0)


def test_the_numpy_oracle_gives_sentence_transformers_vectors_in_the_shape_of_m3e_small(
    m3e_small_checkpoint, sentence_transformer, texts
):
    expected = sentence_transformer(m3e_small_checkpoint).encode(texts)
    np.testing.assert_allclose(
        oracle_vectors(m3e_small_checkpoint, "numpy", texts), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", sorted(ACTIVATION_NAMES))
def test_activations_are_transformers(name):
    import torch
    from transformers.activations import ACT2FN

    ours = ACTIVATIONS[ACTIVATION_NAMES[name]]
    x = np.concatenate([np.linspace(-40, 40, 200_001), [0.0, -0.0, 1e-30, -1e-30, 1e4]]).astype(np.float32)
    expected = ACT2FN[name](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x), expected, atol=2e-6, rtol=1e-6)


def test_texts_run_in_groups_of_one_length_and_a_long_text_alone():
    lengths = np.array([8192, 3, 700, 8192, 3, *[700] * 6])
    groups = list(equal_lengths(lengths))
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    assert [(len(places), *set(lengths[places])) for places in groups] == [
        (1, 8192), (1, 8192), (3, 700), (2, 700), (2, 700), (2, 3)
    ]  # fmt: skip
