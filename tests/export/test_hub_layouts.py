"""Families that came to the hub with code of their own: their folders there, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional

from families import make_family
from hub_layouts import HUB_NOMIC, hub_gte, hub_modernbert, hub_nomic_bert
from jina_bert import jina_states, make_jina_bert
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.architectures.custom_code import HUB_NOMIC_BERT, only_in_custom_code
from m3e_export.checkpoint import load_checkpoint
from m3e_export.oracle import load_oracle
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime import Encoder
from synthetic import rewrite_tensors, update_json

LENGTHS = (12, 300)
"""The window of the tests' ModernBERT is 16."""
LONG = {"max_position_embeddings": 512}
NOMIC = {"intermediate_size": 256}  # the hub's code rounds up to a multiple of it
FAMILIES = {"modernbert": LONG, "nomic_bert": {**LONG, **NOMIC}, "gte": LONG, "eurobert": LONG}
HUB = {"modernbert": hub_modernbert, "nomic_bert": hub_nomic_bert, "gte": hub_gte}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints as transformers writes them, with long texts. Read only."""
    folder = tmp_path_factory.mktemp("families")
    return {name: make_family(folder / name, name, config=config) for name, config in FAMILIES.items()}


@pytest.fixture
def copied(folders, tmp_path):
    """A copy of a checkpoint, to change."""
    return lambda family: shutil.copytree(folders[family], tmp_path / "model")


def states(folder, length):
    checkpoint = load_checkpoint(str(folder))
    return NumpyForward(checkpoint.spec, checkpoint.weights)(ids_of(length))


def ids_of(length):
    return np.random.default_rng(length).integers(110, 1900, length).astype(np.int32)


def transformers_states(folder, length):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(input_ids=torch.from_numpy(ids_of(length)).long()[None]).last_hidden_state[0].numpy()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_transformers(family, length, folders):
    expected = transformers_states(folders[family], length)
    np.testing.assert_allclose(states(folders[family], length), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "jina_bert", "jina_bert, later"])
def test_the_native_engine_at_the_full_length(family, tmp_path):
    """At 8192 tokens, a rotation has turned by thousands of radians."""
    config, folder = {"max_position_embeddings": 8192}, tmp_path / "model"
    jina, later = family.startswith("jina_bert"), "later" in family
    folder = make_jina_bert(folder, later, **config) if jina else make_family(folder, family, config=config)
    checkpoint = load_checkpoint(str(folder), max_length=8192)
    for length in (512, 8192):
        if jina:
            expected = jina_states(torch.from_numpy(ids_of(length)).long(), later=later).numpy()
        else:
            expected = transformers_states(folder, length)
        for precision, most in (("fp32", 1e-6), ("fp16", 1e-4)):
            target, file = TARGETS["native"], tmp_path / f"{precision}-{length}"
            engine = target.load(target.save(checkpoint, float_plan(precision), file)[0], 1)
            found = engine.run([ids_of(length)])[0].astype(np.float64)
            mean = expected.mean(axis=0, dtype=np.float64)
            assert 1 - found @ mean / np.linalg.norm(found) / np.linalg.norm(mean) <= most


@pytest.mark.parametrize("family", HUB)
def test_the_hubs_layout_is_the_same_encoder(family, folders, copied):
    folder = HUB[family](copied(family))
    np.testing.assert_array_equal(states(folder, 300), states(folders[family], 300))


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("modernbert", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
        ("modernbert", {"layer_types": ["sliding_attention"] * 2, "hidden_activation": "silu"}),
        ("eurobert", {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True}),
        ("gte", {"type_vocab_size": 0, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}),
    ],
)
def test_variants_of_transformers(family, config, tmp_path):
    folder = make_family(tmp_path / "model", family, config={**LONG, **config})
    np.testing.assert_allclose(states(folder, 40), transformers_states(folder, 40), atol=1e-5, rtol=0)


def test_fixed_ntk_scaling_is_a_linear_scaling_of_a_larger_base(tmp_path, copied):
    """Equation 6 of https://kexue.fm/archives/9706, which transformers computes under another name."""
    linear = {"rope_type": "linear", "rope_theta": 1000.0 * 8, "factor": 8 ** (2 / 16)}
    config = {**LONG, "rope_parameters": linear}
    expected = transformers_states(make_family(tmp_path / "linear", "gte", config=config), 300)
    scaling = {"rope_theta": 1000, "rope_scaling": {"type": "ntk", "factor": 8.0}}
    np.testing.assert_allclose(states(hub_gte(copied("gte"), **scaling), 300), expected, atol=1e-5, rtol=0)


def test_interleaved_pairs_are_put_apart(copied, folders):
    """The hub's pairs (2k, 2k + 1) of the columns of a head are its neighbours of transformers' layout."""
    folder = hub_nomic_bert(copied("nomic_bert"), rotary_emb_interleaved=True)
    heads, size = 4, 16
    apart = np.arange(size).reshape(2, -1).T.reshape(-1)  # from (k, k + 8) to (2k, 2k + 1)
    order = np.concatenate([head * size + apart for head in range(2 * heads)])
    changed = {}
    for layer in range(2):
        name = f"encoder__layers__{layer}__attn__Wqkv__weight"
        stored = load_tensor(folder, name)
        changed[name] = np.concatenate([stored[order], stored[128:]])
    rewrite_tensors(folder, **changed)
    np.testing.assert_allclose(states(folder, 300), states(folders["nomic_bert"], 300), atol=1e-5, rtol=0)


def load_tensor(folder, name):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")[name.replace("__", ".")]


def test_a_part_of_a_head_may_rotate_and_biases_are_read(copied):
    folder = hub_nomic_bert(
        copied("nomic_bert"), rotary_emb_fraction=0.5, rotary_emb_base=10_000, mlp_fc2_bias=True
    )
    bias = np.linspace(-1, 1, 64, dtype=np.float32)
    rewrite_tensors(folder, **{f"encoder__layers__{layer}__mlp__fc2__bias": bias for layer in (0, 1)})
    weights = load_checkpoint(str(folder)).weights
    np.testing.assert_array_equal(weights.layers[1].output.bias, bias)
    angles = torch.outer(torch.arange(512.0), 1 / 10_000 ** (torch.arange(0, 8, 2) / 8))
    expected = torch.cat([angles.cos(), angles.sin()], dim=1).numpy()
    np.testing.assert_allclose(weights.rotary_tables, expected[None], atol=1e-6, rtol=0)


def test_texts_end_where_dynamic_scaling_begins(copied):
    folder = hub_nomic_bert(copied("nomic_bert"), rotary_scaling_factor=2, max_trained_positions=100)
    assert load_checkpoint(str(folder)).max_length == 100


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(("length", "kind"), [(12, "geglu"), (300, "geglu"), (40, "reglu")])
def test_jina_bert_computes_what_the_papers_say(length, kind, later, tmp_path):
    folder = make_jina_bert(tmp_path / "model", later, feed_forward_type=kind)
    activation = {"geglu": functional.gelu, "reglu": functional.relu}[kind]
    expected = jina_states(torch.from_numpy(ids_of(length)).long(), activation, later)
    np.testing.assert_allclose(states(folder, length), expected.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gte", "jina_bert", "jina_bert, later"])
def test_a_model_that_only_its_code_loads_is_judged_by_numpy_and_its_code_is_not_run(
    family, copied, tmp_path, few_texts, some_texts, caplog
):
    jina = family.startswith("jina_bert")
    folder = make_jina_bert(tmp_path / "jina", "later" in family) if jina else hub_gte(copied(family))
    targets = ("native", "cpu")
    request = ExportRequest(
        str(folder), tmp_path / "bundle", ("fp32", "int8"), targets=targets, gate=str(few_texts)
    )
    bundle = export(request)
    assert "never run" in caplog.text
    assert {each.fidelity.oracle for each in bundle.manifest.artifacts} == {"numpy float32"}
    expected = load_oracle(load_checkpoint(str(folder)), "numpy").encode(some_texts, lambda done: None)
    for artifact in bundle.manifest.artifacts:
        found = Encoder.load(bundle.path, artifact=artifact.name).encode(some_texts)
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        least = 0.999999 if artifact.precision == "fp32" else 0.999
        assert ((found * expected).sum(axis=1) / norms).min() >= least
    with pytest.raises(UnsupportedModelError, match="--oracle numpy"):
        load_oracle(load_checkpoint(str(folder)), "torch")


@pytest.fixture(scope="module")
def some_texts(texts):
    return texts[::4]


@pytest.mark.parametrize("family", ["gte", "modernbert"])
def test_sentence_transformers_is_the_oracle_where_it_reads_the_hubs_layout(family, copied, some_texts):
    """It takes transformers' own class, and not the code beside the weights."""
    folder = copied(family)
    folder = hub_gte(folder, "gte", prefix="") if family == "gte" else hub_modernbert(folder)
    checkpoint = load_checkpoint(str(folder))
    oracle = load_oracle(checkpoint, "torch")
    assert oracle.name.startswith("sentence-transformers")
    expected = load_oracle(checkpoint, "numpy").encode(some_texts, lambda done: None)
    np.testing.assert_allclose(oracle.encode(some_texts, lambda done: None), expected, atol=1e-5, rtol=0)


def test_nomics_keys_are_read_by_transformers_only_where_they_say_its_defaults():
    from transformers import NomicBertConfig

    theirs = NomicBertConfig()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    names += ("layer_norm_eps", "type_vocab_size")
    keys = ("n_embd", "n_layer", "n_head", "n_inner", "layer_norm_epsilon", "type_vocab_size")
    assert [getattr(theirs, name) for name in names] == [HUB_NOMIC_BERT[key] for key in keys]
    assert theirs.rope_parameters["rope_theta"] == HUB_NOMIC_BERT["rotary_emb_base"]
    assert theirs.hidden_act == "silu"
    v15 = {**HUB_NOMIC, **HUB_NOMIC_BERT, "model_type": "nomic_bert", "vocab_size": 30528}
    assert not only_in_custom_code(v15)
    for key in HUB_NOMIC_BERT:
        assert only_in_custom_code({**v15, key: 5})
        assert only_in_custom_code({name: v15[name] for name in v15 if name != key}) or key == "n_embd"


def refused_nomic(**changes):
    return lambda folder: hub_nomic_bert(folder, **changes)


def refused_gte(**changes):
    return lambda folder: hub_gte(folder, **changes)


def refused(**changes):
    return lambda folder: update_json(folder / "config.json", **changes)


REFUSED = [
    ("nomic_bert", refused_nomic(prenorm=True), "prenorm True"),
    ("nomic_bert", refused_nomic(causal=True), "causal True"),
    ("nomic_bert", refused_nomic(rotary_emb_scale_base=512), "rotary_emb_scale_base 512"),
    ("nomic_bert", refused_nomic(use_rms_norm=True), "use_rms_norm True"),
    ("nomic_bert", refused_nomic(moe_every_n_layers=2), "moe_every_n_layers 2"),
    ("nomic_bert", refused_nomic(activation_function="glu"), "activation_function 'glu'"),
    ("nomic_bert", refused_nomic(rotary_emb_fraction=0.0), "rotary_emb_fraction 0.0"),
    ("nomic_bert", refused_nomic(rotary_emb_fraction=0.3), "rotary_emb_fraction 0.3"),
    ("nomic_bert", refused(head_dim=32), "head_dim 32"),
    ("nomic_bert", refused(rope_parameters={"rope_type": "yarn"}), "rope_type 'yarn'"),
    ("gte", refused(rope_scaling={"type": "dynamic", "factor": 2.0}), "rope_type 'dynamic'"),
    ("gte", refused(rope_parameters={"low_freq_factor": 1.0}), "low_freq_factor"),
    ("gte", refused(partial_rotary_factor=0.5), "partial_rotary_factor 0.5"),
    ("gte", refused_gte(logn_attention_scale=True), "logn_attention_scale True"),
    ("gte", refused_gte(layer_norm_type="rms_norm"), "layer_norm_type 'rms_norm'"),
    ("gte", refused_gte(position_embedding_type="absolute"), "position_embedding_type 'absolute'"),
    ("gte", refused_gte(rope_scaling={"type": "ntk", "factor": 8, "mixed_b": 0.6}), "mixed_b 0.6"),
    ("modernbert", refused(layer_types=["full_attention", "chunked_attention"]), "chunked_attention"),
    ("modernbert", refused(rope_scaling={"rope_type": "llama3", "factor": 8.0}), "rope_type 'llama3'"),
    ("eurobert", refused(head_dim=32), "head_dim 32"),
]


@pytest.mark.parametrize(("family", "change", "named"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_is_not_understood_is_refused_by_name(family, change, named, copied):
    folder = copied(family)
    change(folder)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"feed_forward_type": "original"}, "feed_forward_type 'original'"),
        ({"is_decoder": True}, "is_decoder"),
    ],
)
def test_jina_bert_refuses_by_name(config, named, tmp_path):
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(make_jina_bert(tmp_path / "model", **config)))


DAMAGED = {
    "kinds of fewer layers": ("modernbert", {"layer_types": ["full_attention"]}, "layer_types"),
    "a flag that is a word": ("modernbert", {"norm_bias": "yes"}, "norm_bias"),
    "a base that is a word": ("gte", {"rope_parameters": {"rope_theta": "large"}}, "rope_theta"),
    "a rotation that is a word": ("gte", {"rope_parameters": "default"}, "rope_parameters"),
    "rotations that are a word": ("modernbert", {"rope_parameters": "default"}, "rope_parameters"),
    "heads that do not divide": ("eurobert", {"num_key_value_heads": 3}, "num_key_value_heads"),
    "more biases than tensors": ("eurobert", {"attention_bias": True}, "q_proj.bias"),
    "a wider part": ("nomic_bert", {"intermediate_size": 512}, "fc12"),
}


@pytest.mark.parametrize(("family", "config", "named"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_config_is_a_checkpoint_error(family, config, named, copied):
    folder = copied(family)
    update_json(folder / "config.json", **config)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(folder))
