"""Every family, in every form that a CPU runs, against sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from families import FAMILIES, LONGEST, make_family
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.oracle import load_oracle
from m3e_runtime import Encoder
from synthetic import read_json, rewrite_tensors, update_json

PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("native", "cpu", "portable")
ARTIFACTS = tuple(f"{precision}-{target}" for precision in PRECISIONS for target in TARGETS)
LEAST_COSINE = {"fp32": 0.99999, "fp16": 0.9995, "int8": 0.999}
POSITIONS = "embeddings__position_embeddings__weight"
BUCKETS = "encoder__relative_attention_bias__weight"
FAMILY = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A checkpoint of each family. Read only."""
    folder = tmp_path_factory.mktemp("families")
    return {name: make_family(folder / name, name) for name in FAMILIES}


@pytest.fixture(scope="module")
def some_texts(texts):
    return [*texts[::2], *texts[-2:], "Café 한국어 العربية", "the weather is good today"]


@pytest.fixture(scope="module")
def expected(checkpoints, some_texts, sentence_transformer):
    """sentence-transformers' vectors, at the length that the checkpoint's position table allows."""

    def run(family):
        model = sentence_transformer(checkpoints[family])
        model.max_seq_length = LONGEST[family]
        return model.encode(some_texts)

    return {family: run(family) for family in FAMILIES}


@pytest.fixture(scope="module")
def bundles(checkpoints, few_texts, tmp_path_factory):
    """Bundles of a family in every form; made when first asked for."""
    made = {}

    def get(family):
        if family not in made:
            folder = tmp_path_factory.mktemp("bundles")
            made[family] = [
                export(
                    ExportRequest(
                        str(checkpoints[family]),
                        folder / precision,
                        precisions=(precision,),
                        targets=TARGETS,
                        calibration=few_texts,
                        gate="off",
                        oracle="numpy",
                    )
                )
                for precision in PRECISIONS
            ]
        return made[family]

    return get


def cosines(found, expected):
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    products = (found * expected).sum(axis=1)
    return products / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


@FAMILY
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_every_artifact_gives_sentence_transformers_vectors(
    family, artifact, bundles, expected, some_texts, matrix
):
    precision = artifact.split("-")[0]
    bundle = next(b for b in bundles(family) if b.path.name == precision)
    found = Encoder.load(bundle.path, artifact=artifact).encode(some_texts)
    worst = float(cosines(found, expected[family]).min())
    assert worst >= LEAST_COSINE[precision]
    # Roundings differ with the processor: a written number is good for three times as much.
    matrix("architectures").check(
        family, artifact, f"{max(1 - worst, 0):.0e}", lambda written: 1 - worst <= 3 * float(written) + 1e-9
    )
    if precision == "fp32":
        np.testing.assert_allclose(found, expected[family], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bert", {"hidden_act": "gelu_new"}),
        ("xlm-roberta", {"hidden_act": "gelu_pytorch_tanh"}),
        ("ernie", {"hidden_act": "relu"}),
        ("distilbert", {"activation": "relu"}),
        ("mpnet", {"hidden_act": "gelu_new"}),
        ("albert", {"hidden_act": "gelu"}),
        ("bert", {"hidden_act": "gelu_fast", "position_embedding_type": None}),
        ("roberta", {"hidden_act": "quick_gelu"}),
        ("bert", {"hidden_act": "silu"}),
        ("distilbert", {"activation": "swish"}),
    ],
)
def test_other_activations(family, changes, tmp_path, few_texts, some_texts, sentence_transformer):
    checkpoint = make_family(tmp_path / "model", family, config=changes)
    model = sentence_transformer(checkpoint)
    model.max_seq_length = LONGEST[family]
    expected = model.encode(some_texts)
    targets = ("native", "cpu", "portable")
    request = ExportRequest(str(checkpoint), tmp_path / "bundle", targets=targets, gate=str(few_texts))
    for artifact in export(request).manifest.artifacts:
        found = Encoder.load(request.output, artifact=artifact.name).encode(some_texts)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@FAMILY
def test_the_numpy_oracle_agrees_with_pytorch(family, checkpoints, expected, some_texts):
    oracle = load_oracle(load_checkpoint(str(checkpoints[family])), "numpy")
    found = oracle.encode(some_texts, lambda done: None)
    np.testing.assert_allclose(found, expected[family], atol=1e-5, rtol=0)


@FAMILY
def test_the_manifest_names_the_family_and_config_stays_the_checkpoints(family, bundles, checkpoints):
    folder = bundles(family)[0].path
    config = read_json(folder / "config.json")
    original = read_json(checkpoints[family] / "config.json")
    assert read_json(folder / "manifest.json")["source"]["model_type"] == original["model_type"]
    assert config == {key: value for key, value in original.items() if key != "transformers_version"}


@FAMILY
def test_transformers_reads_the_bundles_tokenizer(family, bundles, checkpoints, some_texts):
    from transformers import AutoTokenizer

    folder = bundles(family)[0].path
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = AutoTokenizer.from_pretrained(checkpoints[family])
    assert ours.model_max_length == LONGEST[family]
    assert ours.pad_token_id == theirs.pad_token_id
    assert ours.model_input_names == theirs.model_input_names or family.startswith("distilbert")
    encoded = ours(some_texts, truncation=True, padding=True)["input_ids"]
    same = theirs(some_texts, truncation=True, max_length=LONGEST[family], padding=True)["input_ids"]
    assert encoded == same


@pytest.mark.parametrize(
    ("family", "prefix"),
    [
        ("albert", "albert."),
        ("roberta", "roberta."),
        ("distilbert", "distilbert."),
        ("ernie", "ernie."),
        ("mpnet", "mpnet."),
    ],
)
def test_names_may_stand_under_the_familys_own_prefix(family, prefix, tmp_path, checkpoints):
    named = load_checkpoint(str(make_family(tmp_path / "model", family, prefix=prefix))).weights
    bare = load_checkpoint(str(checkpoints[family])).weights
    for one, other in zip(named.linears(), bare.linears(), strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(named.position_embeddings, bare.position_embeddings)


@pytest.mark.parametrize("pad", [0, 1, 5])
def test_robertas_positions_begin_after_the_padding_id(pad, tmp_path):
    checkpoint = load_checkpoint(
        str(make_family(tmp_path / "model", "roberta", config={"pad_token_id": pad}))
    )
    assert checkpoint.pad_token_id == pad
    assert checkpoint.max_length == checkpoint.spec.max_positions == 130 - pad - 1
    # And before them the row of padding that a text has.
    assert checkpoint.weights.position_embeddings.shape == (130 - pad, 64)


def test_an_absent_padding_id_is_the_familys(tmp_path):
    checkpoint = make_family(tmp_path / "model", "roberta")
    update_json(checkpoint / "config.json", remove=("pad_token_id",))
    assert load_checkpoint(str(checkpoint)).pad_token_id == 1


def test_task_embeddings_that_the_config_leaves_unused_are_left_out(tmp_path, checkpoints):
    checkpoint = make_family(tmp_path / "model", "ernie")
    update_json(checkpoint / "config.json", use_task_id=False)
    found = load_checkpoint(str(checkpoint)).weights.position_embeddings
    with_tasks = load_checkpoint(str(checkpoints["ernie"])).weights.position_embeddings
    assert np.ptp(with_tasks - found, axis=0).max() < 1e-6  # the same for every position …
    assert np.abs(with_tasks - found).max() > 0.01  # … and not nothing


def test_mpnets_biases_are_spread_out_over_distances(checkpoints):
    from transformers import MPNetModel

    model = MPNetModel.from_pretrained(checkpoints["mpnet"])
    weights = load_checkpoint(str(checkpoints["mpnet"])).weights
    with torch.inference_mode():
        expected = model.encoder.compute_position_bias(torch.empty(1, 300, 1))[0].numpy()
    places = np.arange(300)
    np.testing.assert_array_equal(weights.relative_bias[:, places - places[:, None] + 299], expected)
    assert weights.relative_bias.shape == (4, 599)


def test_mpnets_positions_begin_after_a_padding_id_of_one_though_the_config_is_silent(tmp_path, checkpoints):
    checkpoint = make_family(tmp_path / "model", "mpnet")
    update_json(checkpoint / "config.json", remove=("pad_token_id", "relative_attention_num_buckets"))
    silent, said = load_checkpoint(str(checkpoint)), load_checkpoint(str(checkpoints["mpnet"]))
    assert silent.spec == said.spec
    assert silent.spec.max_positions == 300


@pytest.mark.parametrize(
    ("family", "changes", "named"),
    [
        ("roberta", {"hidden_act": "mish"}, "mish"),
        ("roberta", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("roberta", {"is_decoder": True}, "is_decoder"),
        ("xlm-roberta", {"add_cross_attention": True}, "add_cross_attention"),
        ("ernie", {"hidden_act": "tanh"}, "tanh"),
        ("ernie", {"use_task_id": "yes"}, "use_task_id"),
        ("distilbert", {"activation": "mish"}, "mish"),
        ("albert", {"hidden_act": "relu2"}, "relu2"),
        ("albert", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("mpnet", {"hidden_act": "selu"}, "selu"),
        ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets 64"),
        ("mpnet", {"pad_token_id": 0}, "pad_token_id 0"),
        (
            "bert",
            {"model_type": "electra"},
            "albert, bert, camembert, distilbert, ernie, eurobert, gte, jina_bert, modernbert, mpnet, new, "
            "nomic_bert, roberta, xlm-roberta",
        ),
    ],
    ids=str,
)
def test_variants_that_are_not_known_are_refused_by_name(family, changes, named, tmp_path):
    checkpoint = make_family(tmp_path / "model", family)
    update_json(checkpoint / "config.json", **changes)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(checkpoint))


def config(**changes):
    return lambda folder: update_json(folder / "config.json", **changes)


def tensors(**changes):
    return lambda folder: rewrite_tensors(folder, **changes)


def array(*shape):
    return np.full(shape, 0.5, np.float32)


DAMAGED = {
    "padding after the last position": ("roberta", config(pad_token_id=200), "first token's position"),
    "padding at the last position": ("roberta", config(pad_token_id=129), "first token's position"),
    "positions for one token only": ("roberta", config(pad_token_id=128), None),
    "padding beyond the vocabulary": ("roberta", config(pad_token_id=2000), "pad_token_id"),
    "padding negative": ("roberta", config(pad_token_id=-1), "pad_token_id"),
    "padding a word": ("roberta", config(pad_token_id="one"), "pad_token_id"),
    "fewer positions than the config says": ("roberta", tensors(**{POSITIONS: array(129, 64)}), "position"),
    "no task embeddings": ("ernie", tensors(embeddings__task_type_embeddings__weight=None), "task_type"),
    "task embeddings without rows": (
        "ernie",
        tensors(embeddings__task_type_embeddings__weight=array(0, 64)),
        "task_type",
    ),
    "task embeddings too wide": (
        "ernie",
        tensors(embeddings__task_type_embeddings__weight=array(3, 65)),
        "task_type",
    ),
    "no matrix of a key": (
        "distilbert",
        tensors(transformer__layer__1__attention__k_lin__weight=None),
        "layer.1.attention.k_lin",
    ),
    "no biases of distances": ("mpnet", tensors(**{BUCKETS: None}), "relative_attention_bias"),
    "biases of fewer buckets": ("mpnet", tensors(**{BUCKETS: array(31, 4)}), "relative_attention_bias"),
    "biases of more heads": ("mpnet", tensors(**{BUCKETS: array(32, 5)}), "relative_attention_bias"),
    "biases not finite": ("mpnet", tensors(**{BUCKETS: array(32, 4) * np.inf}), "relative_attention_bias"),
    "width a word": ("distilbert", config(dim="wide"), "dim"),
    "width that heads do not divide": ("distilbert", config(n_heads=7), "dim"),
    "sizes under BERT's keys only": ("distilbert", config(dim=None, hidden_size=64), "dim"),
}


@pytest.mark.parametrize(("family", "damage", "named"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_checkpoint_is_a_checkpoint_error(family, damage, named, tmp_path):
    checkpoint = make_family(tmp_path / "model", family)
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(checkpoint))
