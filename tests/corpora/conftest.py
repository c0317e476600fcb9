"""An encoder of the tiny model, a way to call ``encode_corpus``, and texts to give it."""

import shutil

import numpy as np
import pytest

import synthetic
from m3e_export import ExportRequest, export
from m3e_runtime import Encoder
from m3e_runtime.corpora import CorpusRequest, encode_corpus


@pytest.fixture(scope="session")
def encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


@pytest.fixture(scope="session")
def unpooled_bundle(tiny_checkpoint, tmp_path_factory):
    """The tiny model, exported so that prompts stay out of the pooling."""
    folder = tmp_path_factory.mktemp("unpooled")
    checkpoint = shutil.copytree(tiny_checkpoint, folder / "checkpoint")
    synthetic.update_json(checkpoint / "1_Pooling" / "config.json", include_prompt=False)
    return export(ExportRequest(str(checkpoint), folder / "bundle", gate="off")).path


@pytest.fixture
def encode(tiny_bundle):
    """``encode(inputs, output, **options)`` with the tiny model; inputs may be one path or several."""

    def call(inputs, output, bundle=tiny_bundle, **options):
        names = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return encode_corpus(CorpusRequest(bundle, tuple(map(str, names)), str(output), **options))

    return call


@pytest.fixture
def out(tmp_path):
    """A folder of its own, so that leftovers are seen."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def corpus():
    """Three hundred texts of several kinds and lengths; some are empty, some come twice."""
    random = np.random.default_rng(0)
    characters = [chr(0x4E00 + n) for n in range(500)] + list("abc ,，。")
    texts = ["".join(random.choice(characters, length)) for length in random.integers(0, 60, 290)]
    return [*texts[:150], *texts[:10], *texts[150:]]
