"""Prompts that the pooling leaves out, in every engine, against sentence-transformers."""

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

import synthetic
from families import make_family
from m3e_eval.encoder import ArtifactEncoder, load_reference
from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.generic import from_onnx_folder
from m3e_export.graph import GraphOptions, build_model
from m3e_export.graph.dialects import CudaDialect, CudaPackedDialect, TensorRtDialect
from m3e_export.oracle import load_oracle
from m3e_export.precision.embeddings import Int8Embeddings
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime import Encoder
from m3e_runtime.backends import native
from m3e_runtime.bundle import Bundle
from m3e_runtime.cli import main as check
from m3e_runtime.manifest import MANIFEST_NAME

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
POOLINGS = [*([mode] for mode in MODES), list(MODES)]
TARGET_NAMES = ("native", "cpu", "portable")
LONGEST = 40
INSTRUCTION = "Represent the sentence for retrieval; Input: "
PAIRS = [
    ("query: ", "How do I change the card linked to my account?"),
    ("为检索生成表示：", "如何更换花呗绑定银行卡"),
    ("", "今天天气很好"),
    (" ", "a"),  # its tokens are the special one at the start
    (INSTRUCTION, "word " * 90),
    (INSTRUCTION, ""),
    ("字" * 100, "a prompt that leaves no room"),
    ("wea", "ther"),  # one token together, and fewer than the prompt's alone: nothing remains
    ("[MASK]", "[SEP]"),
    ("query: ", "short"),
]
NOTHING = 7
PROMPTS, TEXTS = map(list, zip(*PAIRS, strict=True))

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture
def excluding(tiny_checkpoint, tmp_path):
    """The tiny checkpoint, or another, with a pooling that leaves prompts out."""

    def make(modes=("mean",), checkpoint=tiny_checkpoint, **config):
        folder = tmp_path / "excluding"
        folder.mkdir()
        for file in checkpoint.iterdir():
            if file.name != "1_Pooling":
                (folder / file.name).symlink_to(file)
        (folder / "sentence_bert_config.json").unlink(missing_ok=True)
        synthetic.write_json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST})
        hidden = synthetic.read_json(checkpoint / "1_Pooling" / "config.json")["word_embedding_dimension"]
        pooling = {"word_embedding_dimension": hidden, "pooling_mode": list(modes), "include_prompt": False}
        synthetic.write_json(folder / "1_Pooling" / "config.json", {**pooling, **config})
        return folder

    return make


def expected_vectors(model, pairs=PAIRS):
    """sentence-transformers, each text alone with its prompt; its largest of nothing is minus infinity."""
    vectors = np.stack([model.encode(text, prompt=prompt, show_progress_bar=False) for prompt, text in pairs])
    return np.where(np.isneginf(vectors), 0, vectors)


def quantized_plan(checkpoint):
    quantized = {linear.name: quantize_linear(linear) for linear in checkpoint.weights.linears()}
    return PrecisionPlan(np.float16, np.float32, Int8Embeddings(), quantized)


def assert_near(found, expected, precision):
    if precision == "fp32":
        np.testing.assert_allclose(found, expected, atol=3e-5)
        return
    there = expected.any(axis=1)
    np.testing.assert_array_equal(found[~there], 0)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1)[there] / norms[there]).min() > 0.99


@pytest.mark.parametrize("modes", POOLINGS, ids="+".join)
def test_every_pooling_in_every_engine(modes, excluding, sentence_transformer, tmp_path):
    folder = excluding(modes)
    checkpoint, expected = load_checkpoint(str(folder)), expected_vectors(sentence_transformer(folder))
    tokenizer = checkpoint.text_tokenizer()
    ids = tokenizer.encode_batch([prompt + text for prompt, text in PAIRS])
    lengths = [tokenizer.prompt_length(prompt) for prompt in PROMPTS]
    assert lengths[NOTHING] >= len(ids[NOTHING])
    for target in TARGET_NAMES:
        if target == "native" and native.missing():
            continue
        for precision, plan in (("fp32", float_plan("fp32")), ("int8", quantized_plan(checkpoint))):
            file = TARGETS[target].save(checkpoint, plan, tmp_path / f"{precision}-{target}")[0]
            engine = TARGETS[target].load(file, 2)
            alone = [engine.run([each], [length]) for each, length in zip(ids, lengths, strict=True)]
            assert_near(np.concatenate(alone), expected, precision)
            assert_near(engine.run(ids, lengths), expected, precision)
            np.testing.assert_array_equal(engine.run(ids, [0] * len(ids)), engine.run(ids))
    for name in ("numpy", "torch"):
        oracle = load_oracle(checkpoint, name)
        found = [oracle.encode([text], lambda _: None, prompt)[0] for prompt, text in PAIRS]
        np.testing.assert_allclose(np.stack(found), expected, atol=3e-5, err_msg=name)


@pytest.mark.parametrize("name", ["first_last_mean", "embedding_last_mean", "first_last_avg"])
def test_both_means_of_other_poolings_leave_prompts_out(name, excluding, sentence_transformer, tmp_path):
    folder = excluding()
    checkpoint = load_checkpoint(str(folder), pooling=name)
    model = sentence_transformer(folder)[0].auto_model
    tokenizer = checkpoint.text_tokenizer()
    ids, length = tokenizer.encode("query: How do I change the card?"), tokenizer.prompt_length("query: ")
    assert 1 < length < len(ids)
    given = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.inference_mode():
        states = model(given, output_hidden_states=True).hidden_states
        words = model.get_input_embeddings()(given)
    early = {"first_last_mean": states[0], "embedding_last_mean": words, "first_last_avg": states[1]}[name]
    expected = (early[0, length:].mean(0) + states[-1][0, length:].mean(0)) / 2
    for target in TARGET_NAMES:
        if target == "native" and native.missing():
            continue
        file = TARGETS[target].save(checkpoint, float_plan("fp32"), tmp_path / target)[0]
        found = TARGETS[target].load(file, 2).run([ids], [length])[0]
        np.testing.assert_allclose(found, expected, atol=3e-5, err_msg=target)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "distilbert"])
def test_prompts_of_other_tokenizers(family, excluding, sentence_transformer, exported, tmp_path):
    folder = excluding(checkpoint=make_family(tmp_path / family, family))
    vectors = Encoder.load(exported(folder).path).encode(TEXTS, prompt=PROMPTS)
    np.testing.assert_allclose(vectors, expected_vectors(sentence_transformer(folder)), atol=3e-5)


def test_a_tokenizer_that_adds_no_special_tokens(excluding, tiny_checkpoint, sentence_transformer, exported):
    """Then a prompt is all its tokens, but for an unknown word at the end, which is a special token too."""
    folder = excluding()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
        content = synthetic.read_json(tiny_checkpoint / name)
        synthetic.write_json(folder / name, content)
    synthetic.update_json(folder / "tokenizer.json", post_processor=None)
    synthetic.update_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    pairs = [("hello world ", "the card"), ("hello \u4e02\u9fa5\U00020bb7", "the card"), ("", "the card")]
    texts, prompts = [text for _, text in pairs], [prompt for prompt, _ in pairs]
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode(prompts[1]).tokens[-1] == "[UNK]"
    vectors = Encoder.load(exported(folder).path).encode(texts, prompt=prompts)
    np.testing.assert_allclose(vectors, expected_vectors(sentence_transformer(folder), pairs), atol=3e-5)


@pytest.fixture(scope="module")
def real(minilm, few_texts, tmp_path_factory):
    """MiniLM with prompts that its pooling leaves out: the checkpoint, and its bundle."""
    folder = tmp_path_factory.mktemp("real") / "minilm"
    folder.mkdir()
    for file in minilm.iterdir():
        if file.name not in ("1_Pooling", "config_sentence_transformers.json"):
            (folder / file.name).symlink_to(file)
    pooling = synthetic.read_json(minilm / "1_Pooling" / "config.json")
    synthetic.write_json(folder / "1_Pooling" / "config.json", {**pooling, "include_prompt": False})
    prompts = {"document": "", "query": "Represent the question: "}
    settings = {"prompts": prompts, "default_prompt_name": "query"}
    synthetic.write_json(folder / "config_sentence_transformers.json", settings)
    request = ExportRequest(
        str(folder),
        folder.parent / "bundle",
        ("fp32", "int8"),
        calibration=few_texts,
        gate=str(few_texts),
    )
    return folder, export(request)


def test_the_real_model_passes_the_gate_with_its_prompt(real, sentence_transformer, capsys):
    folder, bundle = real
    model, manifest = sentence_transformer(folder), bundle.manifest
    assert manifest.include_prompt is False
    assert manifest.golden.prompt == "Represent the question: "
    golden = manifest.golden.unpack(manifest.dimension)
    np.testing.assert_allclose(golden, model.encode(list(manifest.golden.texts)), atol=3e-5)
    for artifact in manifest.artifacts:
        encoder = Encoder.load(bundle.path, artifact=artifact.name)
        assert encoder.info["include_prompt"] is False
        for options in ({}, {"prompt_name": "document"}, {"prompt": INSTRUCTION}):
            expected = model.encode(TEXTS, **options)
            assert_near(encoder.encode(TEXTS, **options), expected, artifact.precision)
            assert_near(encoder.encode(TEXTS[0], **options)[None], expected[:1], artifact.precision)
        streamed = encoder.encode_iter(TEXTS, prompt=iter(PROMPTS), window=3)
        assert_near(np.stack(list(streamed)), expected_vectors(model), artifact.precision)
    assert check([str(bundle.path)]) == 0
    assert capsys.readouterr().out.count(": ok") == len(manifest.artifacts)


def test_a_bundle_that_no_longer_leaves_its_prompt_out_fails_the_check(real, tmp_path):
    _, bundle = real
    for file in bundle.path.rglob("*"):
        target = tmp_path / file.relative_to(bundle.path)
        target.mkdir() if file.is_dir() else target.hardlink_to(file)
    (tmp_path / MANIFEST_NAME).unlink()
    changed = msgspec.structs.replace(bundle.manifest, include_prompt=True)
    (tmp_path / MANIFEST_NAME).write_bytes(changed.to_json())
    assert check([str(tmp_path)]) == 3


def test_the_bundle_is_a_sentence_transformers_folder(real, sentence_transformer):
    folder, bundle = real
    assert synthetic.read_json(bundle.path / "1_Pooling" / "config.json")["include_prompt"] is False
    weights = bundle.path / "model.safetensors"
    save_file(load_file(folder / "model.safetensors"), weights, {"format": "pt"})
    expected = expected_vectors(sentence_transformer(folder))
    np.testing.assert_allclose(expected_vectors(sentence_transformer(bundle.path)), expected, atol=3e-5)
    weights.unlink()


def test_other_tools_need_not_give_the_graph_a_prompt_length(real, sentence_transformer):
    folder, bundle = real
    session = onnxruntime.InferenceSession(bundle.path / "onnx" / "model.onnx")
    assert {value.name for value in session.get_inputs()} == {"input_ids", "attention_mask"}
    ids = load_checkpoint(str(folder)).text_tokenizer().encode("the card")[None].astype(np.int64)
    found = session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    expected = sentence_transformer(folder).encode("the card", prompt="")
    np.testing.assert_allclose(found[0], expected, atol=3e-5)


def test_evaluations_leave_the_prompt_out_on_both_sides(real):
    folder, bundle = real
    ours, reference = ArtifactEncoder(bundle, "fp32-cpu"), load_reference(str(folder), bundle)
    found, expected = (each.vectors(TEXTS, INSTRUCTION) for each in (ours, reference))
    np.testing.assert_allclose(found, expected, atol=3e-5)
    assert np.abs(found - ours.vectors([INSTRUCTION + text for text in TEXTS])).max() > 1e-2


@needs_native
@pytest.mark.parametrize("modes", POOLINGS, ids="+".join)
def test_a_text_gives_the_same_bytes_in_any_batch_whatever_the_prompts_beside_it(modes, excluding, tmp_path):
    checkpoint = load_checkpoint(str(excluding(modes)))
    file = TARGETS["native"].save(checkpoint, quantized_plan(checkpoint), tmp_path / "weights")[0]
    random = np.random.default_rng(0)
    ids = [random.integers(0, 2000, size=n).astype(np.int32) for n in (1, 2, 7, 33, 130, 5, 5, 300, 12, 1)]
    lengths = [0, 1, 3, 0, 120, 5, 9, 17, 2, 1]
    alone = TARGETS["native"].load(file, 1)
    expected = np.concatenate([alone.run([each], [n]) for each, n in zip(ids, lengths, strict=True)])
    np.testing.assert_array_equal(expected[[0, 3]], alone.run([ids[0], ids[3]]))
    for threads in (1, 2, 3):
        engine = TARGETS["native"].load(file, threads)
        np.testing.assert_array_equal(engine.run(ids, lengths), expected)
        np.testing.assert_array_equal(engine.run(ids[::-1], lengths[::-1])[::-1], expected)


# What a bundle says, and what is refused


def test_without_a_prompt_of_its_own_a_checkpoint_is_judged_with_another(excluding, exported):
    manifest = exported(excluding(), targets=("cpu",)).manifest
    assert manifest.golden.prompt
    assert not manifest.prompts


def test_bundles_that_pool_prompts_say_nothing_new(tiny_bundle):
    manifest = Bundle.open(tiny_bundle).manifest
    assert manifest.include_prompt
    assert manifest.golden.prompt == ""
    assert "include_prompt" not in synthetic.read_json(tiny_bundle / "1_Pooling" / "config.json")
    session = onnxruntime.InferenceSession(tiny_bundle / "onnx" / "model.onnx")
    assert not session.get_overridable_initializers()


def test_a_pooler_sees_the_first_token_whatever_the_prompt(excluding, tmp_path):
    with_pooler = synthetic.make_checkpoint(tmp_path / "pooler", **synthetic.TINY, pooler=True)
    folder = excluding(checkpoint=with_pooler)
    assert load_checkpoint(str(folder), pooling="pooler").sentence_config.include_prompt
    assert not load_checkpoint(str(folder), pooling="cls").sentence_config.include_prompt


@pytest.mark.parametrize("target", ["cuda", "cuda-packed", "tensorrt-rtx"])
def test_targets_for_a_gpu_are_refused(target, excluding, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(TARGETS["tensorrt-rtx"], "check", lambda options: None)
    with pytest.raises(UnsupportedModelError, match=f"--target {target}; use native, cpu or portable"):
        exported(excluding(), precisions=("fp16",), targets=("native", target))
    assert not list(tmp_path.glob("bundle*"))


@pytest.mark.parametrize("dialect", [CudaDialect, CudaPackedDialect, TensorRtDialect])
def test_graphs_for_a_gpu_are_refused(dialect, tiny_checkpoint):
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    options = GraphOptions("mean", normalize=False, include_prompt=False)
    with pytest.raises(UnsupportedModelError, match="include_prompt"):
        build_model(checkpoint.spec, checkpoint.weights, float_plan("fp32"), dialect, options)


@pytest.mark.parametrize("value", ["false", 0, None])
def test_include_prompt_is_true_or_false(value, excluding):
    with pytest.raises(CheckpointError, match="include_prompt"):
        load_checkpoint(str(excluding(include_prompt=value)))


def test_a_given_graph_is_refused(excluding, tmp_path):
    with pytest.raises(UnsupportedModelError, match="include_prompt"):
        from_onnx_folder(excluding(), tmp_path / "bundle")
