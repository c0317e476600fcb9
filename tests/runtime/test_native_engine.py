"""The native engine: PyTorch's vectors, the same bytes in every batch, threads, fork, fallback."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import synthetic
from m3e_export import ExportRequest, export
from m3e_runtime import BundleError, Encoder, EngineMissingError, OptionError
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


SLOW = ("portable", "sse41")


def instruction_sets() -> list[str]:
    if native.missing():
        return []
    from m3e_runtime._native import instruction_sets as usable

    return usable().split()


def take_engine_away(monkeypatch):
    monkeypatch.setattr(native, "_import_error", ImportError("no module"))
    monkeypatch.setattr(native, "library_file", lambda: None)


def artifact_file(bundle, precision):
    return bundle / "native" / f"model_{precision}_native.safetensors"


def random_ids(lengths, vocabulary, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, vocabulary, size=n).astype(np.int32) for n in lengths]


@pytest.fixture(scope="module")
def odd_checkpoint(tmp_path_factory):
    """Sizes that are multiples of nothing, CLS pooling and a Normalize module."""
    folder = tmp_path_factory.mktemp("odd") / "odd"
    return synthetic.make_checkpoint(
        folder, layers=2, hidden=78, heads=3, intermediate=150, vocab_size=1200, pooling="cls", normalize=True
    )


@pytest.fixture(scope="module")
def odd_bundle(odd_checkpoint, tmp_path_factory):
    request = ExportRequest(
        str(odd_checkpoint),
        tmp_path_factory.mktemp("odd") / "bundle",
        precisions=("fp32", "fp16", "int8"),
        targets=("native",),
        gate="off",
    )
    return export(request).path


@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_fp32_is_sentence_transformers_to_1e_5(minilm_bundle, minilm_reference, texts, instruction_set):
    texts = texts[:-2] if instruction_set in SLOW else texts
    engine = NativeCpu(artifact_file(minilm_bundle, "fp32"), 2, instruction_set=instruction_set)
    assert engine.instruction_set == instruction_set
    tokenizer = Encoder.load(minilm_bundle).tokenizer
    vectors = engine.run(tokenizer.encode_batch(texts))
    expected = minilm_reference.encode(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_int8_is_as_faithful_on_every_instruction_set(
    minilm_bundle, minilm_reference, gate_texts, instruction_set
):
    gate_texts = gate_texts[:: 6 if instruction_set in SLOW else 2]
    engine = NativeCpu(artifact_file(minilm_bundle, "int8"), 2, instruction_set=instruction_set)
    tokenizer = Encoder.load(minilm_bundle).tokenizer
    vectors = engine.run(tokenizer.encode_batch(gate_texts))
    expected = minilm_reference.encode(gate_texts, normalize_embeddings=True)
    cosines = (vectors * expected).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.mean() >= 0.999
    assert np.quantile(cosines, 0.01) >= 0.997


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_odd_sizes_cls_and_normalize_equal_sentence_transformers(odd_bundle, odd_checkpoint, precision):
    from sentence_transformers import SentenceTransformer

    texts = ["你好", "a longer text with several words in it", "", "short", "字" * 100]
    expected = SentenceTransformer(str(odd_checkpoint), device="cpu").encode(texts)
    encoder = Encoder.load(odd_bundle, artifact=f"{precision}-native")
    tolerance = {"fp32": 1e-5, "fp16": 2e-3, "int8": 5e-2}[precision]
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=tolerance)


LENGTHS = [1, 2, 3, 7, 12, 15, 16, 17, 31, 33, 48, 64, 65, 100, 128, 200, 300, 512, 5, 5, 90, 12]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_a_text_gives_the_same_bytes_in_any_batch_and_with_any_threads(
    minilm_bundle, precision, instruction_set
):
    file = artifact_file(minilm_bundle, precision)
    lengths = LENGTHS[:9] if instruction_set in SLOW else LENGTHS
    ids = random_ids(lengths, 30000)
    alone = NativeCpu(file, 1, instruction_set=instruction_set)
    expected = np.stack([alone.run([each])[0] for each in ids])
    for threads in (1, 2, 5):
        engine = NativeCpu(file, threads, instruction_set=instruction_set)
        np.testing.assert_array_equal(engine.run(ids), expected)
        backwards = engine.run(ids[::-1])[::-1]
        np.testing.assert_array_equal(backwards, expected)
        few = np.concatenate([engine.run(ids[i : i + 3]) for i in range(0, len(ids), 3)])
        np.testing.assert_array_equal(few, expected)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("bundle", ["minilm_bundle", "odd_bundle"])
def test_instruction_sets_that_info_names_together_give_the_same_bytes(bundle, precision, request):
    file = artifact_file(request.getfixturevalue(bundle), precision)
    ids = random_ids(LENGTHS, 1200)
    for name in instruction_sets():
        together = [other for other in instruction_sets() if other in native.same_bytes_on(name)]
        assert name in together
        if name == together[0] != together[-1]:
            first, *others = (NativeCpu(file, 2, instruction_set=each).run(ids) for each in together)
            for other in others:
                np.testing.assert_array_equal(other, first)


def test_all_x86_processors_with_avx2_give_the_same_bytes():
    assert native.same_bytes_on("avx2") == native.same_bytes_on("avx512vnni") == native.same_bytes_on("amx")
    assert native.same_bytes_on("portable") == native.same_bytes_on("sse41") == ["sse41", "portable"]
    assert native.same_bytes_on("neon_dot") == ["neon_dot"]
    assert native.same_bytes_on("neon_bf16") == ["neon_bf16"]
    assert native.same_bytes_on(None) == []  # what ONNX Runtime says


@pytest.mark.parametrize(
    ("bfloat16", "arithmetic"), [(True, "bfloat16 products, float32 sums"), (False, "float32")]
)
def test_fp16_says_its_arithmetic_and_float32_can_be_asked_for(
    minilm, few_texts, tmp_path, bfloat16, arithmetic
):
    options = {"precisions": ("fp16",), "targets": ("native",), "bfloat16": bfloat16}
    request = ExportRequest(str(minilm), tmp_path / "bundle", gate=str(few_texts), **options)
    bundle = export(request)
    assert Encoder.load(bundle.path).info["arithmetic"].removesuffix(" rounded to odd") == arithmetic
    (artifact,) = bundle.manifest.artifacts
    assert artifact.fidelity.min_cosine >= (0.9999 if bfloat16 else 0.99999)


def test_every_instruction_set_multiplies_in_the_arithmetic_of_the_artifact(odd_bundle):
    ids = random_ids([1, 5, 12, 13, 64, 200], 1000)
    engines = [
        NativeCpu(artifact_file(odd_bundle, "fp16"), 1, instruction_set=name) for name in instruction_sets()
    ]
    for engine in engines:
        rounding = " rounded to odd" if engine.instruction_set == "neon_bf16" else ""
        assert engine.arithmetic == "bfloat16 products, float32 sums" + rounding
    expected = engines[0].run(ids)
    for engine in engines:
        np.testing.assert_allclose(engine.run(ids), expected, atol=2e-3)


def test_many_threads_on_one_encoder_get_the_same_bytes(minilm_bundle):
    encoder = Encoder.load(minilm_bundle, artifact="int8-native", threads=3)
    texts = ["你好", "a longer text " * 10, "short", "word " * 60] * 3
    expected = encoder.encode(texts)
    start = threading.Barrier(16)

    def encode(_):
        start.wait()
        return [encoder.encode(texts), np.stack([encoder.encode(text) for text in texts])]

    with ThreadPoolExecutor(16) as pool:
        for together, single in pool.map(encode, range(16)):
            np.testing.assert_array_equal(together, expected)
            np.testing.assert_array_equal(single, expected)


def test_encoders_come_and_go_while_others_work(tiny_bundle):
    file = artifact_file(tiny_bundle, "int8")
    ids = random_ids([5, 60, 200], 500)
    expected = NativeCpu(file, 1).run(ids)

    def live_and_die(seed):
        for _ in range(20):
            np.testing.assert_array_equal(NativeCpu(file, 1 + seed % 4).run(ids), expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(live_and_die, range(6)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_encodes_with_threads_of_its_own(tiny_bundle):
    engine = NativeCpu(artifact_file(tiny_bundle, "int8"), 2)
    ids = random_ids([300, 200, 100, 50], 500)
    expected = engine.run(ids)
    child = os.fork()
    if child == 0:  # no pytest in here: leave by os._exit only
        try:
            same = np.array_equal(engine.run(ids), expected)
        except BaseException:
            same = False
        os._exit(0 if same else 1)
    np.testing.assert_array_equal(engine.run(ids), expected)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_text_of_no_tokens_gives_zeros(tiny_bundle):
    engine = NativeCpu(artifact_file(tiny_bundle, "fp32"), 2)
    empty, some = np.array([], np.int32), np.array([2, 7, 3], np.int32)
    vectors = engine.run([empty, some, empty, some])
    assert not vectors[[0, 2]].any()
    np.testing.assert_array_equal(vectors[1], engine.run([some])[0])
    np.testing.assert_array_equal(vectors[3], vectors[1])


@pytest.mark.parametrize("wrong", [-1, 1_000_000])
def test_a_token_id_outside_the_vocabulary_is_refused(tiny_bundle, wrong):
    engine = NativeCpu(artifact_file(tiny_bundle, "fp32"), 1)
    with pytest.raises(ValueError, match="vocabulary"):
        engine.run([np.array([2, wrong, 3], np.int32)])


def test_a_text_longer_than_the_positions_is_refused(tiny_bundle):
    engine = NativeCpu(artifact_file(tiny_bundle, "fp32"), 1)
    with pytest.raises(ValueError, match=r"has \d+ tokens"):
        engine.run([np.full(100_000, 5, np.int32)])


def test_a_prompt_is_left_out_of_the_pooling_as_far_as_there_is_a_text(tiny_bundle):
    engine = NativeCpu(artifact_file(tiny_bundle, "fp32"), 2)
    ids = random_ids([5, 9, 9, 9], 500)
    vectors = engine.run(ids, [2, 0, 9, 2**40])
    assert np.abs(vectors[0] - engine.run(ids)[0]).max() > 1e-3
    np.testing.assert_array_equal(vectors[1], engine.run(ids)[1])
    np.testing.assert_array_equal(vectors[2:], 0)


@pytest.mark.parametrize(
    ("lengths", "named"), [([-1, 0], "text 0 has a prompt of -1"), ([0], "prompt_lengths"), ([], "texts")]
)
def test_prompt_lengths_that_cannot_be_are_refused(tiny_bundle, lengths, named):
    engine = NativeCpu(artifact_file(tiny_bundle, "fp32"), 1)
    with pytest.raises(ValueError, match=named):
        engine.run(random_ids([5, 6], 500), lengths)


def test_an_unknown_instruction_set_is_refused(tiny_bundle):
    with pytest.raises(BundleError, match="'sse9' does not run here"):
        NativeCpu(artifact_file(tiny_bundle, "fp32"), 1, instruction_set="sse9")


def test_the_native_engine_is_the_default_and_info_says_so(minilm_bundle):
    info = Encoder.load(minilm_bundle).info
    assert info["artifact"] == "int8-native"
    assert info["engine"].startswith("native ")
    assert info["instruction_set"] == instruction_sets()[0]
    assert info["arithmetic"] == "int8 products, int32 sums"
    assert info["batch_invariant"] is True
    assert info["same_bytes_on"] == native.same_bytes_on(info["instruction_set"])


def test_a_backend_can_be_forced(minilm_bundle):
    assert Encoder.load(minilm_bundle, backend="onnxruntime").artifact.name == "int8-cpu"
    assert Encoder.load(minilm_bundle, backend="native").artifact.name == "int8-native"
    with pytest.raises(OptionError, match="unknown"):
        Encoder.load(minilm_bundle, backend="openvino")
    with pytest.raises(OptionError, match="nothing for backend='native'"):
        Encoder.load(minilm_bundle, backend="native", artifact="int8-cpu")


def test_without_the_engine_onnx_runtime_takes_over(minilm_bundle, odd_bundle, monkeypatch):
    take_engine_away(monkeypatch)
    encoder = Encoder.load(minilm_bundle)
    assert encoder.artifact.name == "int8-cpu"
    assert "was not built" in encoder.info["native_engine"]
    assert encoder.encode("你好").shape == (384,)
    with pytest.raises(EngineMissingError, match="was not built"):
        Encoder.load(odd_bundle)
