"""LoRA adapters, as PEFT and sentence-transformers save them, against PEFT's own merge."""

import json
import shutil

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForMaskedLM

import synthetic
from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.sentence_config import read_sentence_config
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.oracle.torch_oracle import TorchOracle
from m3e_runtime import Encoder

SENTENCES = ["今天天气很好", "a", "How do I change the card linked to my account?", "字" * 90]
QUERY = "encoder.layer.1.attention.self.query"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    return synthetic.make_checkpoint(folder, **synthetic.TINY, normalize=True, pooling="cls")


def random_adapter(base, folder, loader=AutoModel, safe=True, **settings):
    """Save an adapter whose matrices are all random; return the model with it loaded and merged."""
    torch.manual_seed(0)
    config = LoraConfig(**{"target_modules": ["query", "value"], **settings})
    model = get_peft_model(loader.from_pretrained(str(base), dtype=torch.float32), config)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, 1 if "LayerNorm.weight" in name else 0, 0.2)
    model.save_pretrained(str(folder), safe_serialization=safe)
    original = loader.from_pretrained(str(base), dtype=torch.float32)
    return PeftModel.from_pretrained(original, str(folder)).merge_and_unload()


CONFIGS = {
    "query and value": {"r": 4, "lora_alpha": 8},
    "all matrices": {"r": 8, "lora_alpha": 4, "target_modules": "all-linear"},
    "rank-stabilized": {"r": 9, "lora_alpha": 5, "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["query", "key", "dense"],
        "rank_pattern": {"layer.1.attention.self.query": 2, "query": 3, "output.dense": 7},
        "alpha_pattern": {"query": 32, QUERY: 64, "intermediate.dense": 1},
    },
    "patterns, rank-stabilized": {
        "rank_pattern": {"value": 3},
        "alpha_pattern": {"value": 2},
        "use_rslora": True,
    },
    "word embeddings": {"r": 5, "target_modules": ["word_embeddings", "query"]},
    "whole modules": {"modules_to_save": ["LayerNorm", "intermediate.dense"]},
    "fan_in_fan_out, which PEFT corrects": {"fan_in_fan_out": True, "target_modules": ["query", "dense"]},
    "some layers": {"layers_to_transform": [1]},
    "for features": {"task_type": TaskType.FEATURE_EXTRACTION, "init_lora_weights": "gaussian"},
}


def check_merged(folder, merged):
    found = read_sentence_config(folder).load_weights().arrays
    expected = {name: tensor.numpy() for name, tensor in merged.state_dict().items()}
    compared = [name for name in found if name in expected]
    assert len(compared) > 20
    for name in compared:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", CONFIGS)
def test_merging_gives_the_weights_of_peft(name, base, tmp_path):
    merged = random_adapter(base, tmp_path / "adapter", **CONFIGS[name])
    check_merged(tmp_path / "adapter", merged)
    untouched = load_file(base / "model.safetensors")
    assert any(
        (untouched[key] != value.numpy()).any()
        for key, value in merged.state_dict().items()
        if key in untouched
    )


@pytest.mark.parametrize("family", ["albert", "roberta", "distilbert", "mpnet"])
def test_adapters_of_other_families(family, tmp_path):
    source = make_family(tmp_path / "base", family)
    merged = random_adapter(source, tmp_path / "adapter", target_modules="all-linear")
    check_merged(tmp_path / "adapter", merged)


def test_an_adapter_in_a_pickle(base, tmp_path):
    merged = random_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {name: torch.from_numpy(array) for name, array in load_file(file).items()}
    torch.save(tensors, file.with_suffix(".bin"))
    file.unlink()
    check_merged(tmp_path / "adapter", merged)


def test_an_adapter_of_a_model_with_another_head(base, tmp_path):
    """The names of its tensors have a prefix that those of the base checkpoint do not have."""
    merged = random_adapter(base, tmp_path / "adapter", AutoModelForMaskedLM)
    check_merged(tmp_path / "adapter", merged.bert)


def test_a_base_whose_names_have_a_prefix(tmp_path):
    prefixed = synthetic.make_checkpoint(tmp_path / "base", **synthetic.TINY, prefix="bert.")
    merged = random_adapter(prefixed, tmp_path / "adapter")
    found = read_sentence_config(tmp_path / "adapter").load_weights().arrays
    for name, tensor in merged.state_dict().items():
        if f"bert.{name}" in found:
            np.testing.assert_allclose(found[f"bert.{name}"], tensor.numpy(), atol=1e-6)


def sentence_vectors(folder):
    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack([model.encode(text) for text in SENTENCES])


@pytest.fixture
def saved(base, tmp_path, monkeypatch):
    """A model of sentence-transformers, saved with its adapter."""
    # transformers 5.24 asks for a version that PEFT has not released.
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "0.18.0")
    torch.manual_seed(0)
    model = SentenceTransformer(str(base), device="cpu")
    model.add_adapter(
        LoraConfig(r=4, lora_alpha=8, target_modules=["query", "dense"], init_lora_weights=False)
    )
    model.prompts = {"query": "查询: "}
    model.save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "adapter_config.json").exists()
    assert not (tmp_path / "saved" / "model.safetensors").exists()
    return tmp_path / "saved"


def test_a_sentence_transformers_folder_with_an_adapter(saved, base, tmp_path, few_texts):
    expected = sentence_vectors(saved)
    assert np.abs(expected - sentence_vectors(base)).max() > 0.01
    checkpoint = load_checkpoint(str(saved))
    for oracle in (NumpyOracle(checkpoint), TorchOracle(checkpoint)):
        np.testing.assert_allclose(oracle.encode(SENTENCES, lambda _: None), expected, atol=1e-5)
    request = ExportRequest(
        str(saved), tmp_path / "bundle", ("fp32", "int8"), calibration=few_texts, gate=str(few_texts)
    )
    bundle = export(request)
    assert bundle.manifest.prompts == {"query": "查询: "}
    assert bundle.manifest.pooling == "cls"
    for artifact in bundle.manifest.artifacts:
        found = Encoder.load(bundle.path, artifact=artifact.name).encode(SENTENCES)
        assert (found * expected).sum(axis=1).min() > (0.999999 if artifact.precision == "fp32" else 0.99)


def test_an_adapter_alone_is_pooled_as_its_base_is(base, tmp_path, few_texts, caplog):
    merged = random_adapter(base, tmp_path / "adapter")
    bundle = export(ExportRequest(str(tmp_path / "adapter"), tmp_path / "bundle", gate=str(few_texts)))
    assert "base model" in caplog.text
    assert (bundle.manifest.pooling, bundle.manifest.normalize) == ("cls", True)
    model = SentenceTransformer(str(base), device="cpu")
    model[0].auto_model.load_state_dict(merged.state_dict(), strict=False)
    expected = np.stack([model.encode(text) for text in SENTENCES])
    np.testing.assert_allclose(Encoder.load(bundle.path).encode(SENTENCES), expected, atol=2e-5)


def test_the_manifest_tells_adapters_apart(base, tmp_path):
    sums = {load_checkpoint(str(base)).weights_sha256}
    for alpha in (8, 16):
        random_adapter(base, tmp_path / str(alpha), r=alpha)
        sums.add(load_checkpoint(str(tmp_path / str(alpha))).weights_sha256)
    assert len(sums) == 3


def test_the_licence_of_the_base_model_is_carried_on(base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    renamed = shutil.copytree(base, tmp_path / "m3e-base")
    change(tmp_path / "adapter", base_model_name_or_path=str(renamed))
    assert "research use only" in load_checkpoint(str(tmp_path / "adapter")).licence


def test_a_tokenizer_beside_the_adapter_is_the_one(base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    folder = tmp_path / "adapter"
    synthetic.make_tokenizer_files(
        folder, synthetic.vocabulary(synthetic.TINY["vocab_size"]), lower_case=True
    )
    checkpoint = load_checkpoint(str(folder))
    upper, lower = checkpoint.text_tokenizer().encode_batch(["THE WEATHER", "the weather"])
    np.testing.assert_array_equal(upper, lower)
    oracle = TorchOracle(checkpoint).encode(["THE WEATHER", "the weather"], lambda _: None)
    np.testing.assert_array_equal(oracle[0], oracle[1])


# What is refused


def change(folder, **settings):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**synthetic.read_json(file), **settings}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": None}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias 'all'"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"layer_replication": [[0, 1], [0, 1]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"something_new": {"of": "tomorrow"}}, "something_new"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"^query": 4}}, "alpha_pattern"),
        ({"rank_pattern": ["query"]}, "rank_pattern"),
    ],
)
def test_settings_that_are_not_understood_are_refused_by_name(settings, named, base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    change(tmp_path / "adapter", **settings)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(tmp_path / "adapter"))


def test_dora_as_peft_saves_it_is_refused(base, tmp_path):
    random_adapter(base, tmp_path / "adapter", use_dora=True)
    with pytest.raises(UnsupportedModelError, match="use_dora"):
        load_checkpoint(str(tmp_path / "adapter"))
    change(tmp_path / "adapter", use_dora=False)
    with pytest.raises(UnsupportedModelError, match="lora_magnitude_vector"):
        load_checkpoint(str(tmp_path / "adapter"))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"base_model_name_or_path": None}, "base_model_name_or_path is None"),
        ({"base_model_name_or_path": "/nowhere/at/all"}, "the adapter's base model"),
        ({"r": 0}, "r is 0"),
        ({"r": "8"}, "r is '8'"),
        ({"r": 5}, "expected rank 5"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"lora_alpha": float("inf")}, "lora_alpha"),
    ],
)
def test_broken_settings_are_refused(settings, named, base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    change(tmp_path / "adapter", **settings)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(tmp_path / "adapter"))


NAME = f"base_model.model.{QUERY}.lora_A.weight"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({NAME: None}, "lacks its matrix A or B"),
        ({NAME: np.zeros((8, 63), np.float32)}, "changes"),
        ({NAME: np.zeros((7, 64), np.float32)}, "expected rank 8"),
        ({NAME: np.zeros(8, np.float32)}, "expected rank 8"),
        ({NAME: np.full((8, 64), np.nan, np.float32)}, "NaN"),
        ({"encoder.weight": np.zeros(3, np.float32)}, "encoder.weight"),
        (
            {"base_model.model.encoder.layer.7.output.dense.weight": np.zeros((64, 128), np.float32)},
            "layer.7",
        ),
        ({"base_model.model.classifier.weight": np.zeros((2, 64), np.float32)}, "classifier"),
        ({"base_model.model.embeddings.word_embeddings.weight": np.zeros((2001, 64), np.float32)}, "2001"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes, named, base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {name: array for name, array in {**load_file(file), **changes}.items() if array is not None}
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(tmp_path / "adapter"))


def test_an_adapter_without_weights_is_refused(base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors"):
        load_checkpoint(str(tmp_path / "adapter"))


def test_an_adapter_of_an_adapter_is_refused(base, tmp_path):
    """Of itself, even."""
    random_adapter(base, tmp_path / "adapter")
    change(tmp_path / "adapter", base_model_name_or_path=str(tmp_path / "adapter"))
    with pytest.raises(UnsupportedModelError, match="is an adapter too"):
        load_checkpoint(str(tmp_path / "adapter"))


def test_weights_beside_an_adapter_are_refused(base, tmp_path):
    random_adapter(base, tmp_path / "adapter")
    (tmp_path / "adapter" / "model.safetensors").symlink_to(base / "model.safetensors")
    with pytest.raises(CheckpointError, match="remove one of the two"):
        load_checkpoint(str(tmp_path / "adapter"))
