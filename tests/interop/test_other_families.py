"""Families other than BERT: our bundles in the ONNX backends, Optimum's graphs in our bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.errors import UnsupportedModelError
from m3e_export.generic import from_onnx_folder
from m3e_runtime import Encoder
from synthetic import update_json

pytestmark = pytest.mark.interop
pytest.importorskip("optimum.onnxruntime", reason="needs the extra `optimum` in an environment of its own")

TEXTS = [
    "How do I change my card?",
    "如何更换花呗绑定银行卡",
    "short",
    "a much longer sentence " * 40,
    "",
    "한국어 Ünï",
]
FAMILY = pytest.mark.parametrize("family", ["xlm-roberta", "distilbert"])
MODEL = pytest.mark.parametrize("model", ["electra", "modernbert"])


@pytest.fixture(scope="module")
def gate(tmp_path_factory) -> str:
    """A gate file of a few short texts."""
    file = tmp_path_factory.mktemp("gate") / "few.txt"
    lines = [
        f"{text.strip()} {place}"
        for place in range(4)
        for text in TEXTS[:3] + TEXTS[5:] + ["天气", "weather"]
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a family; made when first asked for. Read only."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make_family(tmp_path_factory.mktemp("checkpoints") / name, name)
            names = [
                "input_ids",
                "attention_mask",
            ]  # no model_type here needs more, and ModernBERT takes no more
            update_json(made[name] / "tokenizer_config.json", model_input_names=names)
        return made[name]

    return get


@pytest.fixture(scope="module")
def sentence_transformer():
    from sentence_transformers import SentenceTransformer

    def load(folder, **options):
        return SentenceTransformer(str(folder), device="cpu", **options)

    return load


@pytest.fixture(scope="module")
def bundle(checkpoint, gate, tmp_path_factory):
    """Our own exporter's bundle of a family; made when first asked for."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            output = tmp_path_factory.mktemp("bundles") / "bundle"
            made[family] = export(ExportRequest(str(checkpoint(family)), output, gate=gate)).path
        return made[family]

    return get


@FAMILY
def test_sentence_transformers_onnx_backend_gives_our_vectors(bundle, sentence_transformer, family):
    options = {"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"}
    model = sentence_transformer(bundle(family), backend="onnx", model_kwargs=options)
    ours = Encoder.load(bundle(family), artifact="fp32-cpu").encode(TEXTS)
    np.testing.assert_allclose(model.encode(TEXTS), ours, atol=1e-5)


@FAMILY
def test_optimum_gives_our_states(bundle, family):
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundle(family))
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="np")
    model = ORTModelForFeatureExtraction.from_pretrained(
        bundle(family), file_name="model.onnx", subfolder="onnx"
    )
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None].astype(np.float32)
    ours = Encoder.load(bundle(family), artifact="fp32-cpu").encode(TEXTS)
    np.testing.assert_allclose((hidden * mask).sum(1) / mask.sum(1), ours, atol=1e-5)


@MODEL
def test_a_bundle_through_optimum(checkpoint, sentence_transformer, gate, tmp_path, model):
    request = ExportRequest(
        str(checkpoint(model)), tmp_path / "bundle", ("fp32", "fp16", "int8"), gate=gate, exporter="optimum"
    )
    artifacts = export(request).manifest.artifacts
    reference = sentence_transformer(checkpoint(model))
    reference.max_seq_length = 128
    expected = reference.encode(TEXTS)
    for artifact, least in zip(artifacts, (0.99999, 0.9995, 0.998), strict=True):
        found = Encoder.load(tmp_path / "bundle", artifact=artifact.name).encode(TEXTS)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        assert ((found * expected).sum(axis=1) / lengths).min() >= least
    assert artifacts[2].mix["int8"] >= 8
    assert set(artifacts[2].mix) == {"int8"}


@MODEL
def test_what_optimum_left_in_a_folder(checkpoint, sentence_transformer, gate, tmp_path, model):
    from optimum.exporters.onnx import main_export

    main_export(str(checkpoint(model)), tmp_path / "folder", task="feature-extraction", do_validation=False)
    shutil.copy(checkpoint(model) / "modules.json", tmp_path / "folder")
    shutil.copytree(checkpoint(model) / "1_Pooling", tmp_path / "folder" / "1_Pooling")
    bundle = from_onnx_folder(tmp_path / "folder", tmp_path / "bundle", max_length=128, gate=gate)
    reference = sentence_transformer(checkpoint(model))
    reference.max_seq_length = 128
    np.testing.assert_allclose(Encoder.load(bundle.path).encode(TEXTS), reference.encode(TEXTS), atol=1e-5)
    options = {"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"}
    again = sentence_transformer(bundle.path, backend="onnx", model_kwargs=options)
    np.testing.assert_allclose(again.encode(TEXTS), reference.encode(TEXTS), atol=1e-5)


def test_optimums_own_words_are_passed_on(checkpoint, gate, tmp_path):
    folder = checkpoint("ernie")
    request = ExportRequest(str(folder), tmp_path / "bundle", gate=gate, exporter="optimum")
    words = r"'ernie': Optimum cannot export it: .*custom or unsupported architecture"
    with pytest.raises(UnsupportedModelError, match=words):
        export(request)
