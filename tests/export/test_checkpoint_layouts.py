"""Every layout of a checkpoint gives the vectors of sentence-transformers or transformers."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from m3e_export import ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_runtime import Encoder
from synthetic import TINY, make_checkpoint, write_json

SHORT = ["今天天气", "the cat is on it", "", "一" * 30, "mixed 文本 of the two"]


def encode(checkpoint, folder, texts=SHORT, **options):
    bundle = export(ExportRequest(str(checkpoint), folder / "bundle", **options))
    return Encoder.load(bundle.path).encode(texts)


def sentence_transformers(checkpoint, texts=SHORT):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu", model_kwargs={"dtype": torch.float32})
    return model.encode(texts)


def transformers(checkpoint, tensors, pooling, texts=SHORT):
    """BertModel with the given state dict, for layouts that sentence-transformers cannot load."""
    model = BertModel(BertConfig.from_pretrained(checkpoint), add_pooling_layer=False).eval()
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}
    model.load_state_dict(state, strict=True)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    vectors = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state[0]
        vectors.append((hidden.mean(0) if pooling == "mean" else hidden[0]).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "cls"},
        {"normalize": True},
        {"weights": "pickle"},
        {"weights": "sharded-safetensors"},
        {"weights": "sharded-pickle"},
        {"dtype": np.float16},
        {"dtype": ml_dtypes.bfloat16},
        {"layout": "plain"},
        {"layout": "uniem"},
    ],
    ids=str,
)
def test_layouts_give_the_vectors_of_sentence_transformers(tmp_path, options):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, **options)
    expected = sentence_transformers(checkpoint)
    np.testing.assert_allclose(encode(checkpoint, tmp_path), expected, atol=1e-5)


@pytest.mark.parametrize("prefix", ["bert.", "embedder.encoder."])
@pytest.mark.parametrize("weights", ["safetensors", "pickle"])
def test_prefixes_of_training_frameworks_are_stripped(tmp_path, prefix, weights):
    plain = make_checkpoint(tmp_path / "plain", **TINY)
    prefixed = make_checkpoint(tmp_path / "prefixed", **TINY, layout="uniem", prefix=prefix, weights=weights)
    expected = transformers(plain, load_file(plain / "model.safetensors"), "mean")
    np.testing.assert_allclose(encode(prefixed, tmp_path), expected, atol=1e-5)


def test_uniem_cls_pooling(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, layout="uniem", pooling="cls")
    expected = transformers(checkpoint, load_file(checkpoint / "model.safetensors"), "cls")
    np.testing.assert_allclose(encode(checkpoint, tmp_path), expected, atol=1e-5)


def test_uniems_new_key_wins_over_the_old_one(tmp_path):
    config = {"uniem_pooling_strategy": "cls", "uniem_embedding_strategy": "last_mean"}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, layout="plain", config=config)
    assert load_checkpoint(str(checkpoint)).layout.pooling == "cls"


def test_the_old_uniem_key_alone_is_read(tmp_path):
    config = {"uniem_embedding_strategy": "last_mean"}
    layout = load_checkpoint(
        str(make_checkpoint(tmp_path / "c", **TINY, layout="plain", config=config))
    ).layout
    assert (layout.kind, layout.pooling) == ("uniem", "mean")


def test_a_plain_checkpoint_pools_the_mean_with_a_warning(tmp_path, caplog):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, layout="plain")
    assert load_checkpoint(str(checkpoint)).layout.pooling == "mean"
    assert "--pooling" in caplog.text


def test_pooling_can_be_overridden_with_a_warning(tmp_path, caplog, tiny_checkpoint):
    expected = transformers(tiny_checkpoint, load_file(tiny_checkpoint / "model.safetensors"), "cls")
    np.testing.assert_allclose(encode(tiny_checkpoint, tmp_path, pooling="cls"), expected, atol=1e-5)
    assert "overrides" in caplog.text


def test_gamma_and_beta_are_layer_norm_names_too(tmp_path, tiny_checkpoint):
    old = shutil.copytree(tiny_checkpoint, tmp_path / "old")
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in load_file(old / "model.safetensors").items()
    }
    save_file(tensors, str(old / "model.safetensors"))
    np.testing.assert_allclose(encode(old, tmp_path), sentence_transformers(tiny_checkpoint), atol=1e-5)


def test_a_folder_saved_by_todays_sentence_transformers_is_read(tmp_path, minilm, minilm_reference, texts):
    minilm_reference.save_pretrained(str(tmp_path / "saved"))
    modules = json.loads((tmp_path / "saved/modules.json").read_text())
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    np.testing.assert_allclose(
        encode(tmp_path / "saved", tmp_path, texts), minilm_reference.encode(texts), atol=1e-5
    )


def test_prompts_come_along(tmp_path, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    write_json(
        checkpoint / "config_sentence_transformers.json",
        {"prompts": {"query": "the query: ", "passage": ""}, "default_prompt_name": "query"},
    )
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    bundle = export(ExportRequest(str(checkpoint), tmp_path / "bundle"))
    encoder = Encoder.load(bundle.path)
    for name in (None, "query", "passage"):
        expected = model.encode(SHORT, prompt_name=name)
        np.testing.assert_allclose(encoder.encode(SHORT, prompt_name=name), expected, atol=1e-5)


def test_vocab_txt_alone_is_enough(tmp_path, minilm, minilm_reference, texts):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(minilm, checkpoint, ignore=shutil.ignore_patterns("tokenizer.json"))
    np.testing.assert_allclose(encode(checkpoint, tmp_path, texts), minilm_reference.encode(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("sbert", "tokenizer", "expected"),
    [
        ({"max_seq_length": 128}, {}, 128),
        ({"max_seq_length": None}, {"model_max_length": 1e30}, 512),
        ({"max_seq_length": 4096}, {}, 512),
        ({}, {"model_max_length": 200}, 200),
    ],
)
def test_the_longest_input_is_what_the_model_can_take(tmp_path, sbert, tokenizer, expected):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, tokenizer_config=tokenizer)
    write_json(checkpoint / "sentence_bert_config.json", sbert)
    assert load_checkpoint(str(checkpoint)).max_length == expected


def test_a_model_length_of_1e30_does_not_overrun_the_positions(tmp_path):
    config = {"model_max_length": 1e30}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, layout="uniem", tokenizer_config=config)
    vectors = encode(checkpoint, tmp_path, ["一" * 2000])
    expected = transformers(checkpoint, load_file(checkpoint / "model.safetensors"), "mean", ["一" * 2000])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("lower", [True, False])
def test_casing_is_the_tokenizer_configs(tmp_path, lower):
    config = {"do_lower_case": lower}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, tokenizer_config=config)
    texts = ["THE Cat", "Ünïcödé IS"]
    np.testing.assert_allclose(
        encode(checkpoint, tmp_path, texts), sentence_transformers(checkpoint, texts), atol=1e-5
    )


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("config.json", {"model_type": "gpt2"}, "gpt2"),
        ("config.json", {"hidden_act": "silu"}, "silu"),
        ("config.json", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "lasttoken"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "jaccard"}, "jaccard"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, tiny_checkpoint, file, change, named):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    path = checkpoint / file
    content = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, content | change)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    "module",
    ["sentence_transformers.models.Dense", "sentence_transformers.models.WordWeights", "my_code.Module"],
)
def test_an_unknown_module_is_named(tmp_path, tiny_checkpoint, module):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    modules = json.loads((checkpoint / "modules.json").read_text())
    write_json(checkpoint / "modules.json", [*modules, {"idx": 2, "name": "2", "path": "2", "type": module}])
    with pytest.raises(UnsupportedModelError, match=module.rsplit(".", 1)[-1]):
        load_checkpoint(str(checkpoint))


def test_an_unsupported_uniem_strategy_is_named(tmp_path):
    config = {"uniem_pooling_strategy": "last_weighted"}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **TINY, layout="plain", config=config)
    with pytest.raises(UnsupportedModelError, match="last_weighted"):
        load_checkpoint(str(checkpoint))
