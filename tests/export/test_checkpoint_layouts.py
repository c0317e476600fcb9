"""Every way a checkpoint is laid out gives the vectors that sentence-transformers gives."""

import shutil

import ml_dtypes
import numpy as np
import pytest

from m3e_export import UnsupportedModelError
from m3e_export.checkpoint import load_checkpoint
from m3e_runtime import Encoder, OptionError
from synthetic import TINY, make_checkpoint, modules_of, update_json, write_json

LAYOUTS = {
    "sentence-transformers": {},
    "cls pooling": {"pooling": "cls"},
    "normalized": {"normalize": True},
    "cls pooling, normalized": {"pooling": "cls", "normalize": True},
    "uniem": {"layout": "uniem"},
    "plain": {"layout": "plain"},
    "pickle": {"weights": "pickle"},
    "sharded safetensors": {"weights": "sharded-safetensors"},
    "sharded pickle": {"weights": "sharded-pickle"},
    "float16": {"dtype": np.float16},
    "bfloat16": {"dtype": ml_dtypes.bfloat16},
    "bfloat16 pickle": {"dtype": ml_dtypes.bfloat16, "weights": "pickle"},
    "prefix bert.": {"prefix": "bert."},
    "gamma and beta": {"norm_names": ("gamma", "beta")},
    "position_ids": {"position_ids": True},
    "pooler": {"pooler": True},
    "vocab.txt": {"tokenizer": "vocab.txt"},
    "vocab.txt, lower case": {"tokenizer": "vocab.txt", "lower_case": True},
    "lower case": {"lower_case": True},
    "another epsilon": {"config": {"layer_norm_eps": 1e-3}},
}

FOREIGN = {
    "prefix embedder.encoder.": ({"prefix": "embedder.encoder."}, {}),
    "prefix embedder.encoder. in a pickle": ({"prefix": "embedder.encoder.", "weights": "pickle"}, {}),
    "uniem with cls": ({"layout": "uniem", "pooling": "cls"}, {"pooling": "cls"}),
    "the older uniem key": (
        {"layout": "plain", "config": {"uniem_embedding_strategy": "cls"}},
        {"pooling": "cls"},
    ),
    "both uniem keys": (
        {"layout": "uniem", "pooling": "cls", "config": {"uniem_embedding_strategy": "last_mean"}},
        {"pooling": "cls"},
    ),
    "sentence-transformers wins over uniem": (
        {"pooling": "cls", "config": {"uniem_pooling_strategy": "last_mean"}},
        {"pooling": "cls"},
    ),
}
"""Layouts that sentence-transformers cannot read: how to write one, and a twin of it that it can read."""


def equal(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_fp32_bundle_gives_sentence_transformers_vectors(
    options, tmp_path, texts, fp32_vectors, sentence_transformer
):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, **options)
    equal(fp32_vectors(checkpoint, texts), sentence_transformer(checkpoint).encode(texts))


@pytest.mark.parametrize(("options", "twin"), FOREIGN.values(), ids=FOREIGN.keys())
def test_layouts_of_other_trainers_give_the_vectors_of_a_sentence_transformers_twin(
    options, twin, tmp_path, texts, fp32_vectors, sentence_transformer
):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, **options)
    expected = sentence_transformer(make_checkpoint(tmp_path / "twin", **TINY, **twin)).encode(texts)
    equal(fp32_vectors(checkpoint, texts), expected)


@pytest.mark.parametrize("options", [{}, {"pooling": "cls", "normalize": True}])
def test_what_the_installed_sentence_transformers_saves_is_read_back(
    options, tmp_path, texts, fp32_vectors, sentence_transformer
):
    model = sentence_transformer(make_checkpoint(tmp_path / "model", **TINY, **options))
    model.save(str(tmp_path / "saved"))
    equal(fp32_vectors(tmp_path / "saved", texts), model.encode(texts))


@pytest.mark.parametrize(
    ("base", "transformer", "pooling"),
    [
        ("sentence_transformers.models", "Transformer", {"pooling_mode_cls_token": True}),
        ("sentence_transformers.models.Transformer", "Transformer", {"pooling_mode": "cls"}),
        ("sentence_transformers.base.modules.transformer", "Transformer", {"pooling_mode": "cls"}),
        ("sentence_transformers.base.modules.transformer", "Transformer", {"pooling_mode": ["cls"]}),
    ],
)
def test_old_and_new_spellings_of_modules_and_pooling_are_the_same(base, transformer, pooling, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    write_json(checkpoint / "1_Pooling" / "config.json", {"word_embedding_dimension": 64, **pooling})
    modules = modules_of("Transformer", "Pooling")
    modules[0]["type"] = f"{base}.{transformer}"
    modules[1]["type"] = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    write_json(checkpoint / "modules.json", modules)
    assert load_checkpoint(str(checkpoint)).sentence_config.pooling == "cls"


def test_the_transformer_may_lie_in_a_folder_of_its_own(tmp_path, texts, fp32_vectors, sentence_transformer):
    inner = make_checkpoint(tmp_path / "model" / "0_Transformer", **TINY)
    outer = inner.parent
    for name in ("modules.json", "1_Pooling"):
        (inner / name).rename(outer / name)
    modules = modules_of("Transformer", "Pooling")
    modules[0]["path"] = "0_Transformer"
    write_json(outer / "modules.json", modules)
    equal(fp32_vectors(outer, texts), sentence_transformer(outer).encode(texts))


def test_lower_casing_by_sentence_bert_config_is_kept(tmp_path, texts, fp32_vectors, sentence_transformer):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    update_json(checkpoint / "sentence_bert_config.json", do_lower_case=True)
    equal(fp32_vectors(checkpoint, texts), sentence_transformer(checkpoint).encode(texts))


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": True},
        {"do_lower_case": True, "strip_accents": False},
        {"strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_tokenizer_settings_that_contradict_tokenizer_json_act_as_in_transformers(
    settings, tmp_path, texts, fp32_vectors, sentence_transformer
):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    update_json(checkpoint / "tokenizer_config.json", **settings)
    equal(fp32_vectors(checkpoint, texts), sentence_transformer(checkpoint).encode(texts))


def test_prompts_and_the_default_prompt_are_carried_into_the_bundle(
    tmp_path, texts, fp32_vectors, exported, sentence_transformer
):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    prompts = {"query": "为这个句子生成表示：", "document": ""}
    write_json(
        checkpoint / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": "query", "similarity_fn_name": "dot"},
    )
    reference = sentence_transformer(checkpoint)
    encoder = Encoder.load(exported(checkpoint).path)
    equal(encoder.encode(texts), reference.encode(texts))
    for name in prompts:
        equal(encoder.encode(texts, prompt_name=name), reference.encode(texts, prompt_name=name))
    vectors = encoder.encode(texts[:5])
    np.testing.assert_allclose(
        encoder.similarity(vectors, vectors), reference.similarity(vectors, vectors), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ({"max_seq_length": 128, "model_max_length": 512}, 128),
        ({"max_seq_length": 512, "model_max_length": 1e30}, 512),
        ({"max_seq_length": None, "model_max_length": 77}, 77),
        ({"max_seq_length": None, "model_max_length": 1e30}, 512),
        ({"max_seq_length": None, "model_max_length": 1000000000000000019884624838656}, 512),
        ({"max_seq_length": None, "model_max_length": None}, 512),
        ({"max_seq_length": None, "model_max_length": 512, "positions": 64}, 64),
        ({"layout": "plain", "model_max_length": 40}, 40),
        ({"layout": "plain", "model_max_length": 1e30, "positions": 128}, 128),
        ({"layout": "uniem", "model_max_length": 100}, 100),
    ],
    ids=str,
)
def test_long_texts_are_cut_where_sentence_transformers_cuts_them(
    lengths, expected, tmp_path, texts, exported, sentence_transformer
):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, **lengths)
    encoder = Encoder.load(exported(checkpoint).path)
    assert encoder.max_seq_length == expected
    equal(encoder.encode(texts), sentence_transformer(checkpoint).encode(texts))


def test_more_tokens_than_positions_are_never_used(tmp_path, texts, exported):
    """sentence-transformers fails on such a checkpoint's long texts; the bundle cuts them."""
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, positions=64, max_seq_length=512)
    encoder = Encoder.load(exported(checkpoint).path)
    assert encoder.max_seq_length == 64
    assert np.isfinite(encoder.encode(texts)).all()


def test_max_length_by_hand_cuts_like_sentence_transformers(
    tiny_checkpoint, texts, exported, sentence_transformer
):
    reference = sentence_transformer(tiny_checkpoint)
    reference.max_seq_length = 20
    equal(Encoder.load(exported(tiny_checkpoint, max_length=20).path).encode(texts), reference.encode(texts))


@pytest.mark.parametrize("length", [-1, 0, 2, 513])
def test_a_max_length_that_the_model_cannot_serve_is_refused(tiny_checkpoint, length, exported):
    with pytest.raises(OptionError, match="512"):
        exported(tiny_checkpoint, max_length=length)


def test_pooling_by_hand_overrides_the_checkpoints(
    tiny_checkpoint, tmp_path, texts, exported, sentence_transformer
):
    twin = sentence_transformer(make_checkpoint(tmp_path / "twin", **TINY, pooling="cls"))
    equal(Encoder.load(exported(tiny_checkpoint, pooling="cls").path).encode(texts), twin.encode(texts))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "mish"}, "mish"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"is_decoder": True}, "is_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"model_type": "deberta-v2"}, "deberta-v2"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["bert"]}, "model_type"),
    ],
    ids=str,
)
def test_a_config_of_another_architecture_is_refused_by_name(changes, named, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    update_json(checkpoint / "config.json", **changes)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize("strategy", ["last_median", None])
def test_an_unknown_uniem_strategy_is_refused_by_name(strategy, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, layout="uniem")
    update_json(checkpoint / "config.json", uniem_pooling_strategy=strategy)
    with pytest.raises(UnsupportedModelError, match=str(strategy)):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens"),
        ({"pooling_mode": "median"}, "median"),
        ({"pooling_mode_mean_tokens": False}, "none"),
    ],
    ids=str,
)
def test_an_unknown_pooling_is_refused_by_name(pooling, named, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    write_json(checkpoint / "1_Pooling" / "config.json", {"word_embedding_dimension": 64, **pooling})
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (("Transformer", "Dense", "Pooling"), "Dense → Pooling"),
        (("Transformer", "Pooling", "Normalize", "CNN"), "CNN"),
        (("WordEmbeddings", "Pooling"), "WordEmbeddings"),
        (("Transformer", "Pooling", "Pooling"), "Pooling → Pooling"),
        (("Transformer", "Normalize", "Pooling"), "Normalize → Pooling"),
        (("Pooling", "Transformer"), "Pooling → Transformer"),
        ((), "none"),
    ],
    ids=str,
)
def test_unknown_modules_or_orders_of_modules_are_refused_by_name(kinds, named, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    write_json(checkpoint / "modules.json", modules_of(*kinds))
    for index, kind in enumerate(kinds):
        write_json(checkpoint / (f"{index}_{kind}" if index else "") / "extra.json", {})
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(checkpoint))


def test_an_unknown_similarity_is_refused_by_name(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY)
    write_json(checkpoint / "config_sentence_transformers.json", {"similarity_fn_name": "jaccard"})
    with pytest.raises(UnsupportedModelError, match="jaccard"):
        load_checkpoint(str(checkpoint))


def test_a_plain_checkpoint_pools_the_mean_with_a_warning(tmp_path, caplog):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, layout="plain")
    assert load_checkpoint(str(checkpoint)).sentence_config.pooling == "mean"
    assert "--pooling" in caplog.text


def test_the_vocabulary_of_a_real_checkpoint_is_enough(
    tmp_path, minilm, minilm_reference, texts, fp32_vectors
):
    ignore = shutil.ignore_patterns("tokenizer.json")
    checkpoint = shutil.copytree(minilm, tmp_path / "model", ignore=ignore)
    equal(fp32_vectors(checkpoint, texts), minilm_reference.encode(texts))
