"""Configurations of models on the hub: what is read of them, and which are refused by name."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from families import make_family
from hub_configs import READ, REFUSED, tensors_of
from hub_layouts import hub_nomic_bert
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.architectures import architecture_for
from m3e_export.architectures.tensors import ReadTensors
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.refused import refuse_other_code
from synthetic import read_json, rewrite_tensors, update_json, write_json

NAME = pytest.mark.parametrize("name", READ)
LAYERS, VOCABULARY = 2, 4
DEPTHS = ("n_layer", "num_hidden_layers")


def few_layers(config):
    """``config`` with the first layers only, and few words."""
    depth = next(key for key in DEPTHS if key in config)
    changed = {**config, depth: LAYERS, "vocab_size": VOCABULARY, "pad_token_id": 0}
    if "layer_types" in config:
        changed["layer_types"] = config["layer_types"][:LAYERS]
    return {**changed, "pad_vocab_size_multiple": 1} if "pad_vocab_size_multiple" in config else changed


@NAME
def test_what_is_read_of_a_configuration(name, tmp_path):
    hub = READ[name]
    refuse_other_code(tmp_path / "config.json", hub.config)
    spec = architecture_for(hub.config).spec(hub.config)
    assert {key: getattr(spec, key) for key in hub.spec} == hub.spec
    seen = tuple(dict.fromkeys(attention.before for attention in spec.layer_attention))
    assert seen == hub.windows
    assert all(attention.before == attention.after for attention in spec.layer_attention)


@NAME
def test_every_tensor_of_the_hubs_layout_is_read_and_the_rotation_is_the_configurations(name):
    hub = READ[name]
    config = few_layers(hub.config)
    family = architecture_for(config)
    spec, tensors = family.spec(config), ReadTensors(tensors_of(hub, LAYERS, VOCABULARY))
    weights = family.weights(config, spec, tensors)
    assert set(tensors) - tensors.read == set()
    tables = () if weights.rotary_tables is None else weights.rotary_tables
    assert len(tables) == len(hub.second)
    for table, second in zip(tables, hub.second, strict=True):
        assert table.shape == (8192, spec.head_size)
        found = np.arctan2(table[1, spec.head_size // 2 + 1], table[1, 1])
        np.testing.assert_allclose(found, second, rtol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_name(name, tmp_path):
    refused = REFUSED[name]
    for file, content in {"config.json": refused.config, **refused.files}.items():
        write_json(tmp_path / file, content)
    with pytest.raises(UnsupportedModelError, match=refused.says):
        load_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        # A Qwen2 whose code may see in both directions, as that of gte-Qwen2 does.
        (
            {"auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}, "model_type": "qwen2"},
            r"auto_map: modeling_qwen\.Qwen2Model",
        ),
        ({"model_type": "new"}, "transformers has no class for this 'new' model; use --exporter own"),
    ],
)
def test_other_exporters_refuse_what_transformers_would_read_wrongly(config, says, families, tmp_path):
    folder = shutil.copytree(families["bert"], tmp_path / "model")
    update_json(folder / "config.json", **config)
    with pytest.raises(UnsupportedModelError, match=says):
        export(ExportRequest(str(folder), tmp_path / "bundle", exporter="torch"))


@pytest.mark.parametrize("exporter", ["own", "torch"])
@pytest.mark.parametrize("below", ["adapters/retrieval", "retrieval_query"])
def test_adapters_beside_the_weights_are_not_left_out(below, exporter, families, tmp_path):
    """oaustegard/jina-v5-nano-mirror and the documentation of transformers' JinaEmbeddingsV3."""
    folder = shutil.copytree(families["bert"], tmp_path / "model")
    write_json(folder / below / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(UnsupportedModelError, match=f"adapters beside the weights, in {below}"):
        export(ExportRequest(str(folder), tmp_path / "bundle", exporter=exporter))


def test_a_trainers_checkpoints_beside_the_weights_do_not_matter(bert):
    write_json(bert / "checkpoint-500" / "adapter_config.json", {"peft_type": "LORA"})
    assert load_checkpoint(str(bert)).model_type == "bert"


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """Checkpoints as transformers writes them. Read only."""
    folder = tmp_path_factory.mktemp("families")
    nomic = {"intermediate_size": 256}
    return {
        "bert": make_family(folder / "bert", "bert"),
        "nomic_bert": make_family(folder / "nomic_bert", "nomic_bert", config=nomic),
    }


@pytest.fixture
def bert(families, tmp_path):
    return shutil.copytree(families["bert"], tmp_path / "model")


@pytest.fixture
def nomic(families, tmp_path):
    """A checkpoint in the hub's layout."""
    return hub_nomic_bert(shutil.copytree(families["nomic_bert"], tmp_path / "model"))


def array(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.1.attention.self.layer_norm_q.weight",
        "encoder.layer.0.output.adapters.task.adapter_up.weight",
        "encoder.layer.0.attention.self.query.lora_A.default.weight",
        "encoder.layer.1.mlp.experts.mlp.w1",
    ],
)
def test_a_layer_with_more_tensors_than_the_familys_computes_something_else(name, bert):
    rewrite_tensors(bert, **{name.replace(".", "__"): array(64)})
    with pytest.raises(UnsupportedModelError, match=f"bert model do not have.*: {name}"):
        load_checkpoint(str(bert))


def test_layers_beyond_the_depth_tables_and_other_heads_are_left_out(bert, families):
    names = (
        "encoder.layer.2.attention.self.layer_norm_q.weight",  # config.json says two layers
        "encoder.layer.0.attention.rotary_emb.inv_freq",
        "cls.predictions.transform.dense.weight",
        "pooler.dense.more",
    )
    rewrite_tensors(bert, **{name.replace(".", "__"): array(64) for name in names})
    found, expected = (load_checkpoint(str(each)).weights for each in (bert, families["bert"]))
    for one, other in zip(found.linears(), expected.linears(), strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


def test_nomics_norm_inside_of_the_feed_forward_part_is_refused(nomic):
    """NomicBertBlock of the hub's code hands it to NomciBertGatedMLP as norm_layer."""
    update_json(nomic / "config.json", norm_mlp=True)
    with pytest.raises(UnsupportedModelError, match="norm_mlp True"):
        load_checkpoint(str(nomic))


def test_nomics_token_types_are_read_though_the_config_is_silent(nomic, families):
    """type_vocab_size is 2 by default in every version of the hub's NomicBertConfig."""
    update_json(nomic / "config.json", remove=("type_vocab_size",))
    found, expected = (load_checkpoint(str(each)).weights for each in (nomic, families["nomic_bert"]))
    assert np.abs(expected.position_embeddings).max() > 0.01
    np.testing.assert_array_equal(found.position_embeddings, expected.position_embeddings)


def test_nomics_base_has_no_default(nomic):
    """1000 in the first version of the hub's NomicBertConfig (thegallier/configs), 10000 in later ones.

    aahrong/nomic-embed-text-v1.5 has a later one.
    """
    update_json(nomic / "config.json", remove=("rotary_emb_base",))
    with pytest.raises(CheckpointError, match="rotary_emb_base is None"):
        load_checkpoint(str(nomic))


@pytest.mark.parametrize(("scaling", "longest"), [({"rotary_scaling_factor": None}, 128), ({}, 100)])
def test_without_a_scaling_factor_texts_end_at_the_trained_length(scaling, longest, nomic):
    """The first version of the hub's NomicBertConfig has 1.0, which scales longer texts, later ones null."""
    update_json(nomic / "config.json", remove=("rotary_scaling_factor",), max_trained_positions=100)
    update_json(nomic / "config.json", **scaling)
    assert load_checkpoint(str(nomic)).max_length == longest


BOTH = {
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 256,
    "layer_norm_eps": 1e-12,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
}


def test_nomics_two_sets_of_keys_may_stand_together(nomic):
    plain = load_checkpoint(str(nomic))
    update_json(nomic / "config.json", **BOTH)
    both = load_checkpoint(str(nomic))
    assert both.spec == plain.spec
    np.testing.assert_array_equal(both.weights.rotary_tables, plain.weights.rotary_tables)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"num_hidden_layers": 1}, "n_layer is 2 and num_hidden_layers is 1"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_epsilon is 1e-12 and layer_norm_eps is 1e-05"),
        ({"hidden_act": "gelu"}, "activation_function is 'swiglu' and hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_theta": 10000.0}}, "rotary_emb_base is 1000 and rope_parameters is"),
    ],
)
def test_nomics_two_sets_of_keys_must_agree(config, says, nomic):
    """transformers 5 reads its own, and saves the hub's beside them, whatever they say."""
    update_json(nomic / "config.json", **{**BOTH, **config})
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(str(nomic))


@pytest.mark.parametrize("family", ["eurobert", "gte"])
def test_a_base_with_different_defaults_has_none(family, tmp_path):
    """EuroBertConfig says 250000 on the hub (oaustegard/jina-v5-nano-mirror), 10000 in transformers.

    GteConfig, which snowflake-arctic-embed-m-v2.0 has from NewConfig, says 10000 there and 160000 here.
    """
    folder = make_family(tmp_path / "model", family)
    assert "rope_theta" in read_json(folder / "config.json")["rope_parameters"]
    update_json(folder / "config.json", remove=("rope_parameters",))
    with pytest.raises(CheckpointError, match="rope_theta is None"):
        load_checkpoint(str(folder))
