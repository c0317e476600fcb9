"""Families that are not built in, through torch.onnx, against sentence-transformers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
import transformers

import synthetic
from families import FOREIGN, make_family
from m3e_export import ExportRequest, export
from m3e_export.cli import main
from m3e_export.errors import (
    BelowGateError,
    CheckpointError,
    OptionError,
    UnsupportedModelError,
    UntrustedCheckpointError,
)
from m3e_export.oracle.transformers_model import load_model
from m3e_runtime import Encoder
from m3e_runtime.gpu.tensorrt import EngineOptions

PRECISIONS = ("fp32", "fp16", "int8")
MODELS = ("electra", "modernbert", "deberta-v2", "xlm")
LEAST_COSINE = {"fp32": 0.99999, "fp16": 0.9995, "int8": 0.998}
MODEL = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A checkpoint of each model. Read only."""
    folder = tmp_path_factory.mktemp("foreign")
    return {name: make_family(folder / name, name) for name in FOREIGN}


@pytest.fixture(scope="module")
def bundles(checkpoints, few_texts, tmp_path_factory):
    """Bundles in every precision; made when first asked for."""
    made = {}

    def get(model):
        if model not in made:
            output = tmp_path_factory.mktemp("bundles") / "bundle"
            request = ExportRequest(
                str(checkpoints[model]), output, PRECISIONS, gate=str(few_texts), exporter="torch"
            )
            made[model] = export(request)
        return made[model]

    return get


@pytest.fixture
def through_torch(few_texts, tmp_path):
    """Export a checkpoint through torch; keywords are those of ExportRequest."""

    def run(checkpoint, **options):
        options = {"gate": str(few_texts), "exporter": "torch", **options}
        return export(ExportRequest(str(checkpoint), tmp_path / "bundle", **options))

    return run


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def initializers(bundle, precision):
    artifact = next(each for each in bundle.manifest.artifacts if each.precision == precision)
    graph = onnx.load(bundle.path / artifact.files[0].path).graph
    return graph, {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}


@MODEL
@pytest.mark.parametrize("precision", PRECISIONS)
def test_vectors_are_those_of_sentence_transformers(
    checkpoints, bundles, sentence_transformer, texts, model, precision
):
    reference = sentence_transformer(checkpoints[model])
    reference.max_seq_length = 128
    encoder = Encoder.load(bundles(model).path, artifact=f"{precision}-torch")
    found, expected = encoder.encode(texts), reference.encode(texts)
    assert cosines(found, expected).min() >= LEAST_COSINE[precision]
    if precision == "fp32":
        np.testing.assert_allclose(found, expected, atol=1e-5)


@MODEL
def test_a_batch_of_unequal_lengths_gives_what_its_texts_give_alone(bundles, texts, model):
    encoder = Encoder.load(bundles(model).path, artifact="fp32-torch")
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=5e-6)


@MODEL
def test_fp16_is_the_model_with_rounded_matrices(checkpoints, bundles, texts, model):
    config = synthetic.read_json(checkpoints[model] / "config.json")
    tensors = {
        name: (array.astype(np.float16) if is_matrix(array) else array).astype(np.float32)
        for name, array in read_tensors(checkpoints[model]).items()
    }
    rounded = load_model(config, tensors)
    encoder = Encoder.load(bundles(model).path, artifact="fp16-torch")
    short = [text for text in texts if len(text) < 40]
    for text, vector in zip(short, encoder.encode(short), strict=True):
        ids = torch.tensor([encoder.tokenizer.encode(text).tolist()])
        with torch.inference_mode():
            states = rounded(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)
    _, stored = initializers(bundles(model), "fp16")
    assert not [name for name, array in stored.items() if is_matrix(array) and array.dtype == np.float32]


def is_matrix(array):
    return array.size > max(array.shape, default=1)


def read_tensors(checkpoint):
    from safetensors.numpy import load_file

    return load_file(checkpoint / "model.safetensors")


@MODEL
def test_int8_multiplies_codes_whose_sums_cannot_overflow(bundles, model):
    bundle = bundles(model)
    artifact = next(each for each in bundle.manifest.artifacts if each.precision == "int8")
    graph, stored = initializers(bundle, "int8")
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    matrices = {node.input[1] for node in products}
    assert artifact.mix == {"int8": len(matrices)}
    assert len(matrices) >= 8
    for name in matrices:
        codes = stored[name].astype(np.int32)
        for sign in (1, -1):
            pairs = np.maximum(sign * codes, 0).reshape(-1, 2, codes.shape[1]).sum(axis=1)
            assert pairs.max() <= 128
    tables = [array for array in stored.values() if array.shape[0:1] == (2000,) and array.ndim == 2]
    assert {array.dtype for array in tables} == {np.dtype(np.int8), np.dtype(np.float32)}  # codes and scales


def test_matrices_are_called_after_their_modules(checkpoints, through_torch, monkeypatch):
    from m3e_export.generic import export as module

    monkeypatch.setattr(module, "int8_mixes", lambda *_: iter([{}]))
    artifact = through_torch(checkpoints["electra"], precisions=("int8",)).manifest.artifacts[0]
    assert artifact.mix == {"float16": 13}
    assert artifact.kept[:2] == ("embeddings_project", "encoder.layer.0.attention.self.query")


def test_shared_layers_are_stored_once(bundles):
    bundle = bundles("albert, shared layers")
    sizes = {each.precision: each.files[0].size for each in bundle.manifest.artifacts}
    _, stored = initializers(bundle, "fp32")
    assert sum(array.shape == (64, 128) for array in stored.values()) == 1
    assert bundle.manifest.artifacts[2].mix == {"int8": 7}
    assert sizes["int8"] < sizes["fp16"] < sizes["fp32"]


def test_poolings_dense_and_normalize(checkpoints, through_torch, sentence_transformer, tmp_path, texts):
    from sentence_transformers import SentenceTransformer, models
    from sentence_transformers.models import Dense, Normalize, Pooling

    torch.manual_seed(1)
    words = models.Transformer(str(checkpoints["electra"]), max_seq_length=100)
    pooling = Pooling(
        64, pooling_mode_cls_token=True, pooling_mode_max_tokens=True, pooling_mode_mean_tokens=False
    )
    made = SentenceTransformer(modules=[words, pooling, Dense(128, 32), Normalize()], device="cpu")
    made.save(str(tmp_path / "made"))
    bundle = through_torch(tmp_path / "made")
    assert (bundle.manifest.dimension, bundle.manifest.tokenization.max_length) == (32, 100)
    found = Encoder.load(bundle.path).encode(texts)
    np.testing.assert_allclose(found, made.encode(texts), atol=1e-5)
    assert modules_of(bundle.path) == ["Transformer", "Pooling", "Dense", "Normalize"]


def test_weights_of_another_family_judge_a_given_graph(checkpoints, bundles, through_torch, tmp_path):
    folder = shutil.copytree(checkpoints["electra"], tmp_path / "copy")
    shutil.copytree(bundles("electra").path / "onnx", folder / "onnx")
    bundle = through_torch(folder, exporter="given")
    assert bundle.manifest.artifacts[0].fidelity.oracle.startswith("sentence-transformers")
    assert bundle.manifest.artifacts[0].fidelity.min_cosine >= 0.99999
    synthetic.rewrite_tensors(folder, embeddings_project__weight=np.ones((64, 32), np.float32))
    with pytest.raises(BelowGateError, match="min_cosine"):
        through_torch(folder, exporter="given", force=True)


def modules_of(folder):
    return [each["type"].rsplit(".", 1)[-1] for each in synthetic.read_json(folder / "modules.json")]


def test_a_prefix_of_the_trainer_is_taken_off(tmp_path):
    plain, prefixed = (
        make_family(tmp_path / str(place), "electra", prefix=prefix)
        for place, prefix in enumerate(("", "embedder.encoder."))
    )
    config = synthetic.read_json(plain / "config.json")
    states = [load_model(config, read_tensors(each)).state_dict() for each in (plain, prefixed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_model_that_padding_shows_in_is_refused(checkpoints, through_torch, tmp_path):
    """ConvBERT's convolutions reach into the padding, in transformers too."""
    with pytest.raises(BelowGateError, match="in batches, where padding shows"):
        through_torch(checkpoints["convbert"])
    assert not (tmp_path / "bundle").exists()
    assert not through_torch(checkpoints["convbert"], gate="off").manifest.artifacts[0].fidelity.enforced


def test_int8_keeps_what_the_gate_asks_for(checkpoints, through_torch, monkeypatch):
    """Where all in int8 does not pass, the most sensitive matrices stay in fp16."""
    from m3e_export.generic import export as module

    judged = []

    def strict(gate, run, precision):
        verdict = judge_run(gate, run, precision)
        judged.append(verdict)
        return dataclasses.replace(verdict, problems=("too far",) if len(judged) < 3 else ())

    judge_run = module.judge_run
    monkeypatch.setattr(module, "judge_run", strict)
    artifact = through_torch(checkpoints["electra"], precisions=("int8",)).manifest.artifacts[0]
    assert artifact.mix == {"int8": 11, "float16": 2}
    assert len(artifact.kept) == 2


def test_int8_of_a_model_without_matrices_is_refused(checkpoints, through_torch, tmp_path):
    """SqueezeBERT has convolutions in their place."""
    with pytest.raises(OptionError, match=r"'squeezebert' has no products .* use fp16"):
        through_torch(checkpoints["squeezebert"], precisions=("int8",))
    assert not (tmp_path / "bundle").exists()
    assert through_torch(checkpoints["squeezebert"], precisions=("fp16",)).manifest.artifacts[0].mix == {}


def test_the_command_says_what_to_try(checkpoints, tmp_path, capsys):
    output = ["-o", str(tmp_path / "out")]
    assert main([str(checkpoints["electra"]), *output]) == 4
    assert "bert, " in (err := capsys.readouterr().err)
    assert "--exporter torch" in err
    made_up = tmp_path / "made-up"
    synthetic.make_checkpoint(made_up, **synthetic.TINY, config={"model_type": "nobert"})
    assert main([str(made_up), *output, "--exporter", "torch"]) == 4
    assert "makes no model of model_type 'nobert'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_torchs_own_words_are_passed_on(checkpoints, through_torch, monkeypatch, tmp_path):
    def forward(self, input_ids, **_):
        return input_ids if input_ids.sum() > 0 else None

    monkeypatch.setattr(transformers.ElectraModel, "forward", forward)
    with pytest.raises(UnsupportedModelError, match=r"'electra': torch\.onnx .* cannot export it: .+"):
        through_torch(checkpoints["electra"])
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": ("native",)}, "--target is not for --exporter torch: .* ONNX Runtime on a CPU"),
        ({"engine": EngineOptions(strip_weights=True)}, "engines is not for"),
        ({"oracle": "numpy"}, "--oracle numpy is not for .* use PyTorch"),
        ({"graph": "model.onnx"}, "--graph is not for"),
        ({"calibration": "texts.txt"}, "--calibration is for --precision int8"),
        ({"max_length": 2}, "3 to 128"),
        ({"exporter": "given", "precisions": ("int8",)}, "--precision is not for --exporter given"),
        ({"exporter": "given", "oracle": "torch"}, "--oracle is not for"),
        ({"exporter": "own", "graph": "model.onnx"}, "--graph is for --exporter given"),
        ({"exporter": "tvm"}, "--exporter tvm: choose from own"),
    ],
)
def test_options_of_no_use_are_refused(checkpoints, through_torch, options, words):
    with pytest.raises(OptionError, match=words):
        through_torch(checkpoints["electra"], **options)


def test_no_code_of_a_checkpoint_is_run(checkpoints, through_torch, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = shutil.copytree(checkpoints["electra"], tmp_path / "copy")
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass M: pass\n")
    synthetic.update_json(
        folder / "config.json", auto_map={"AutoModel": "modeling.M", "AutoConfig": "modeling.M"}
    )
    with pytest.raises(UnsupportedModelError, match=r"auto_map: modeling\.M"):
        through_torch(folder)
    synthetic.update_json(folder / "config.json", remove=("auto_map",))
    through_torch(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(UntrustedCheckpointError, match="not a plain pickle"):
        through_torch(folder, force=True)
    assert not (tmp_path / "ran").exists()


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(checkpoints, through_torch, tmp_path):
    folder = shutil.copytree(checkpoints["electra"], tmp_path / "copy")
    synthetic.rewrite_tensors(folder, embeddings_project__weight=np.zeros((3, 4), np.float32))
    with pytest.raises(CheckpointError, match=r"embeddings_project\.weight: shape \(3, 4\), .* \(64, 32\)"):
        through_torch(folder)
    synthetic.rewrite_tensors(folder, embeddings_project__weight=None)
    with pytest.raises(CheckpointError, match=r"lacks embeddings_project\.weight"):
        through_torch(folder)


def test_two_processes_give_the_same_bytes(checkpoints, few_texts, tmp_path):
    """This one and another, whose strings have other hashes."""
    code = "import sys; from m3e_export.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--exporter", "torch", "--precision", "fp16", "int8", "--gate", str(few_texts)]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(checkpoints["modernbert"]), "-o", str(first), *options]) == 0
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoints["modernbert"]), "-o", str(second), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    contents = [
        {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (first, second)
    ]
    assert contents[0] == contents[1]
    assert not [name for name, data in contents[0].items() if str(sys.prefix).encode() in data]


def test_json_names_exporter_and_mix(checkpoints, few_texts, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--exporter", "torch", "--json", "--gate", str(few_texts)]
    assert main([str(checkpoints["electra"]), "-o", str(out), *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in result["artifacts"]] == ["fp32-torch"]
    assert result["artifacts"][0]["mix"] == {"float32": 13}
