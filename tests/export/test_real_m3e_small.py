"""The tokenizer and configuration files of the real m3e-small, with random weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from m3e_export.checkpoint import load_checkpoint
from m3e_runtime import Encoder
from synthetic import random_tensors, read_json, write_weights

REAL = Path(__file__).parents[3] / "shared" / "checkpoints" / "m3e-small"
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="the folder ../shared/checkpoints/m3e-small is absent"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "m3e-small"
    for source in REAL.rglob("*"):
        if source.is_file():
            target = folder / source.relative_to(REAL)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    config = read_json(folder / "config.json")
    sizes = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    write_weights(folder, random_tensors(*(config[key] for key in sizes)))
    return folder


@pytest.fixture(scope="module")
def mixed(texts, gate_texts):
    """About two hundred strings."""
    pieces = [
        "ﬁ",
        "ß",
        "İ",
        "é",
        "e\u0301",
        "\u3000",
        "～",
        "①",
        "㎡",
        "ﾃｽﾄ",
        "🀄️",
        "\U0002a6d6",
        "a\u00adb",
        "\ue000",
    ]
    return [*texts, *gate_texts[:130], *pieces, *(f"中{piece}文 {piece}x" for piece in pieces)]


def test_token_ids_equal_transformers(checkpoint, mixed):
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(checkpoint)
    ours = load_checkpoint(str(checkpoint)).text_tokenizer()
    assert len(mixed) > 190
    expected = reference(mixed, truncation=True, max_length=512)["input_ids"]
    assert [ids.tolist() for ids in ours.encode_batch(mixed)] == expected
    assert [ours.encode(text).tolist() for text in mixed] == expected


def test_the_bundle_gives_sentence_transformers_vectors(checkpoint, exported, texts, sentence_transformer):
    bundle = exported(checkpoint)
    found = Encoder.load(bundle.path).encode(texts)
    np.testing.assert_allclose(found, sentence_transformer(checkpoint).encode(texts), atol=1e-5, rtol=0)
    assert "research" in bundle.manifest.licence
