"""What sentence-transformers obeys in a folder is obeyed here too, or refused by name. It is the judge."""

from __future__ import annotations

import asyncio
import json
import shutil

import numpy as np
import pytest

from m3e_corpora.cli import main as encode_main
from m3e_eval.encoder import load_reference
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.errors import BelowGateError
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_runtime import AsyncEncoder, Encoder
from m3e_runtime.bundle import Bundle
from m3e_runtime.cli import main as check_main
from m3e_runtime.integrations.embedder import TextEmbedder
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer as DropIn
from synthetic import update_json, write_json

TEXTS = ["今天天气很好，我们去公园玩吧。", "How do I change the card?", "UPPER and lower", "长文本" * 60]


@pytest.fixture(scope="module")
def saved(tiny_checkpoint, tmp_path_factory):
    """The tiny model as sentence-transformers itself writes it. Read only."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("saved") / "model"
    SentenceTransformer(str(tiny_checkpoint), device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def original_vectors(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


def exported(folder, tmp_path, **options):
    return export(ExportRequest(str(folder), tmp_path / "bundle", **options))


def assert_same_vectors(folder, tmp_path):
    """The gate lets it pass, and the bundle's vectors are the original's."""
    bundle = exported(folder, tmp_path)
    assert bundle.manifest.artifacts[0].fidelity.oracle.startswith("sentence-transformers")
    np.testing.assert_allclose(Encoder.load(bundle.path).encode(TEXTS), original_vectors(folder), atol=1e-5)
    return bundle


def test_a_folder_that_sentence_transformers_wrote(model, tmp_path):
    assert_same_vectors(model, tmp_path)


OLD_NAMES = [
    *("sentence_roberta_config.json", "sentence_distilbert_config.json", "sentence_camembert_config.json"),
    *("sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json"),
]


@pytest.mark.parametrize("name", OLD_NAMES)
def test_old_names_of_the_settings_are_read(name, model, tmp_path):
    (model / "sentence_bert_config.json").unlink()
    write_json(model / name, {"max_seq_length": 16, "do_lower_case": True})
    checkpoint = load_checkpoint(str(model))
    assert (checkpoint.max_length, checkpoint.sentence_config.lower_case) == (16, True)
    if name == OLD_NAMES[0]:
        assert_same_vectors(model, tmp_path)


def test_an_empty_file_leaves_the_next_name_its_turn(model):
    write_json(model / "sentence_bert_config.json", {})
    write_json(model / "sentence_albert_config.json", {"max_seq_length": 16})
    assert load_checkpoint(str(model)).max_length == 16


@pytest.mark.parametrize("key", ["tokenizer_args", "processor_kwargs"])
def test_the_tokenizers_length_wins_over_that_of_the_module(key, model, tmp_path):
    settings = {"max_seq_length": 32, key: {"model_max_length": 16, "trust_remote_code": True}}
    write_json(model / "sentence_bert_config.json", settings)
    assert load_checkpoint(str(model)).max_length == 16
    assert_same_vectors(model, tmp_path)


def test_how_the_original_computes_does_not_matter(model, tmp_path):
    settings = {"unpad_inputs": False, "model_args": {"attn_implementation": "eager"}}
    update_json(model / "sentence_bert_config.json", **settings)
    assert_same_vectors(model, tmp_path)


REFUSED = {
    "transformer_task": "fill-mask",
    "modality_config": {"message": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "sentence_embedding",
    "processing_kwargs": {"text": {"max_length": 8}},
    "tokenizer_args": {"do_lower_case": True},
    "processor_kwargs": {"truncation_side": "left"},
    "config_args": {"hidden_act": "relu"},
    "config_kwargs": {"num_hidden_layers": 1},
    "model_args": {"adapter": "x"},
    "query_length": 8,
    "document_length": 8,
    "query_expansion": {"length": 32},
    "tokenizer_name_or_path": "another",
    "from_the_future": 1,
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_setting_that_would_change_vectors_is_refused_by_name(key, model):
    update_json(model / "sentence_bert_config.json", **{key: REFUSED[key]})
    named = {"tokenizer_args": "do_lower_case", "config_args": "config_kwargs", "model_args": "adapter"}
    with pytest.raises(UnsupportedModelError, match=named.get(key, key)):
        load_checkpoint(str(model))


@pytest.mark.parametrize("key", ["query_length", "document_length", "processing_kwargs"])
def test_what_means_nothing_is_no_obstacle(key, model):
    update_json(model / "sentence_bert_config.json", **{key: None})
    load_checkpoint(str(model))


def test_models_that_give_no_sentence_vectors_are_refused(model):
    update_json(model / "config_sentence_transformers.json", model_type="OtherEncoder")
    with pytest.raises(UnsupportedModelError, match="model_type"):
        load_checkpoint(str(model))


@pytest.fixture
def truncated(model):
    update_json(model / "config_sentence_transformers.json", truncate_dim=24)
    return model


def test_truncate_dim_is_the_default_length_of_vectors(truncated, tmp_path):
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(truncated), device="cpu")
    bundle = assert_same_vectors(truncated, tmp_path)  # at 24 dimensions: there are no others to compare
    assert (bundle.manifest.truncate_dim, bundle.manifest.dimension) == (24, 64)
    assert bundle.manifest.golden.unpack(24).shape == (16, 24)
    encoder = Encoder.load(bundle.path)
    assert (encoder.dimension, encoder.full_dimension) == (24, 64)
    assert (encoder.info["dimension"], encoder.encode([]).shape) == (24, (0, 24))
    for asked in ({"truncate_dim": 64}, {"truncate_dim": 8}, {"normalize_embeddings": True}):
        np.testing.assert_allclose(encoder.encode(TEXTS, **asked), original.encode(TEXTS, **asked), atol=1e-5)
        streamed = np.stack(list(encoder.encode_iter(TEXTS, **asked)))
        np.testing.assert_allclose(streamed, original.encode(TEXTS, **asked), atol=1e-5)
    # The folder is one of sentence-transformers, too, and says the same there.
    config = json.loads((bundle.path / "config_sentence_transformers.json").read_bytes())
    assert config["truncate_dim"] == 24
    assert check_main([str(bundle.path)]) == 0


def test_truncate_dim_in_everything_that_encodes(truncated, tmp_path):
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(truncated), device="cpu")
    bundle = exported(truncated, tmp_path).path
    expected = original.encode(TEXTS)
    model = DropIn(str(bundle))
    assert model.get_embedding_dimension() == original.get_embedding_dimension() == 24
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)
    with model.truncate_embeddings(None), original.truncate_embeddings(None):
        np.testing.assert_allclose(model.encode(TEXTS), original.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(TextEmbedder(bundle).documents(TEXTS), expected, atol=1e-5)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    command = [str(bundle), str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy")]
    assert encode_main(command) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)
    reference = load_reference(str(truncated), Bundle.open(bundle))
    np.testing.assert_allclose(reference.vectors(TEXTS), expected, atol=1e-5)

    async def served():
        async with AsyncEncoder(Encoder.load(bundle)) as encoder:
            return (
                await encoder.encode(TEXTS),
                await encoder.encode([]),
                await encoder.encode("a", truncate_dim=64),
            )

    vectors, none, full = asyncio.run(served())
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert (none.shape, full.shape) == ((0, 24), (64,))


@pytest.mark.parametrize("oracle", ["torch", "numpy"])
def test_the_gate_judges_at_truncate_dim(oracle, truncated, tmp_path):
    bundle = exported(truncated, tmp_path, oracle=oracle, precisions=("fp32", "int8"), targets=("cpu",))
    np.testing.assert_allclose(
        bundle.manifest.golden.unpack(24)[:, :24],
        NumpyOracle(load_checkpoint(str(truncated))).encode(bundle.manifest.golden.texts, lambda _: None)[
            :, :24
        ],
        atol=1e-5,
    )


def test_a_given_graph_keeps_truncate_dim(truncated, tmp_path):
    first = exported(truncated, tmp_path, targets=("cpu",)).path
    request = ExportRequest(str(first), tmp_path / "again", exporter="given", gate="off")
    bundle = export(request)
    assert bundle.manifest.truncate_dim == 24
    np.testing.assert_allclose(
        Encoder.load(bundle.path).encode(TEXTS), Encoder.load(first).encode(TEXTS), atol=1e-5
    )


def test_truncate_dim_beyond_the_vectors_truncates_nothing(model, tmp_path):
    update_json(model / "config_sentence_transformers.json", truncate_dim=1000)
    assert assert_same_vectors(model, tmp_path).manifest.truncate_dim is None


@pytest.mark.parametrize("value", [0, -1, "24", 1.5, True])
def test_a_truncate_dim_that_is_no_number_of_dimensions_is_refused(value, model):
    update_json(model / "config_sentence_transformers.json", truncate_dim=value)
    with pytest.raises(CheckpointError, match="truncate_dim"):
        load_checkpoint(str(model))


def test_prompts_that_are_null_are_none(model):
    update_json(model / "config_sentence_transformers.json", prompts={"query": None, "document": "d: "})
    assert load_checkpoint(str(model)).sentence_config.prompts == {"document": "d: ", "query": ""}


@pytest.fixture
def modules(model):
    """Change the entries of modules.json."""

    def change(edit):
        file = model / "modules.json"
        file.write_text(json.dumps(edit(json.loads(file.read_bytes()))), encoding="utf-8")
        return model

    return change


def test_modules_come_in_the_order_of_the_file(modules, tmp_path):
    """sentence-transformers does not read their idx."""
    folder = modules(lambda entries: [{**entry, "idx": -entry["idx"]} for entry in entries])
    assert_same_vectors(folder, tmp_path)
    with pytest.raises(UnsupportedModelError, match="Pooling → Transformer"):
        load_checkpoint(str(modules(lambda entries: entries[::-1])))


def test_modules_of_other_models_are_refused(modules):
    def edit(entries):
        return [
            {**entries[0], "type": "sentence_transformers.sparse_encoder.models.Transformer"},
            *entries[1:],
        ]

    with pytest.raises(UnsupportedModelError, match="sparse_encoder"):
        load_checkpoint(str(modules(edit)))


def test_arguments_of_modules_are_refused(modules):
    with pytest.raises(UnsupportedModelError, match="task"):
        load_checkpoint(str(modules(lambda entries: [{**entries[0], "kwargs": ["task"]}, *entries[1:]])))


def test_a_transformer_alone_is_no_embedding_model(modules):
    folder = modules(lambda entries: entries[:1])
    with pytest.raises(UnsupportedModelError, match="--pooling"):
        load_checkpoint(str(folder))
    assert load_checkpoint(str(folder), pooling="cls").sentence_config.pooling == "cls"


def classifier(tiny_checkpoint, folder, labels=1):
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    config = BertConfig.from_pretrained(tiny_checkpoint, num_labels=labels)
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_checkpoint).save_pretrained(folder)
    return folder


def test_the_encoder_of_a_classifier_can_be_asked_for(tiny_checkpoint, tmp_path):
    folder = classifier(tiny_checkpoint, tmp_path / "classifier", labels=3)
    assert exported(folder, tmp_path, pooling="mean").manifest.pooling == "mean"


def test_half_a_folder_is_refused(model):
    (model / "modules.json").unlink()
    with pytest.raises(CheckpointError, match=r"1_Pooling but no modules\.json"):
        load_checkpoint(str(model))


def test_a_reading_of_ours_is_not_judged_by_itself(model, tmp_path, monkeypatch):
    """What we read wrongly of the folder, the gate finds."""
    from m3e_export.checkpoint import sentence_config as layout

    monkeypatch.setattr(layout, "read_pooling", lambda folder: "max")
    with pytest.raises(BelowGateError):
        exported(model, tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_max_length_is_asked_of_the_original_too(model, tmp_path):
    bundle = exported(model, tmp_path, max_length=16)
    assert bundle.manifest.tokenization.max_length == 16
    assert bundle.manifest.artifacts[0].fidelity.min_cosine > 0.99999
