"""Text in, vectors out through the C interface: bit for bit what Python gives for the same artifact."""

import ctypes
import json
import multiprocessing
import os
import shutil
import threading

import msgspec
import numpy as np
import pytest

import c_bundles
import native_tokenizer
from c_bundles import ARGUMENT, FILE, FORMAT, INTEGRITY, STOP, STOPPED, UNSUPPORTED, CBundleError, CModel
from hostile_manifests import CHANGES, put
from m3e_runtime import Bundle, Encoder
from m3e_runtime.backends import native
from m3e_runtime.bundle import sha256_of
from m3e_runtime.manifest import GoldenVectors
from m3e_runtime.outputs import OUTPUT_PRECISIONS
from synthetic import read_json, update_json, write_json

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

WEIGHTS = "native/model_int8_native.safetensors"


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def prompted_bundle(tiny_bundle, tmp_path_factory):
    """With prompts, a default one, and fewer dimensions by default than the model has."""
    path = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("prompted") / "bundle")
    manifest = read_json(path / "manifest.json")
    manifest["prompts"] = {"query": "为这个句子: ", "passage": "", "web search": "how "}
    manifest["default_prompt_name"] = "query"
    route = {"name": "query", "tasks": {"query": "query", "passage": "passage"}, "default": "query"}
    write_json(path / "manifest.json", manifest | {"route": route})
    return path


def edit(bundle, change):
    manifest = read_json(bundle / "manifest.json")
    change(manifest)
    write_json(bundle / "manifest.json", manifest)


def refuse(code, bundle, match=None, **options):
    with pytest.raises(CBundleError, match=match) as caught:
        CModel(bundle, **options)
    assert caught.value.code == code, caught.value


def ranges_for(dimension):
    return np.sort(np.random.default_rng(dimension).normal(size=(2, dimension)).astype(np.float32), axis=0)


def same(c, python, texts, **options):
    expected = python.encode(texts, **options)
    found = c.encode(texts, **options)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("artifact", ["int8-native", "fp32-native"])
@pytest.mark.parametrize("threads", [1, 3])
def test_vectors_are_those_of_python(minilm_bundle, texts, artifact, threads):
    python = Encoder.load(minilm_bundle, artifact=artifact)
    c = CModel(minilm_bundle, artifact, threads)
    same(c, python, texts)
    for text in texts:
        np.testing.assert_array_equal(c.encode([text])[0], python.encode(text))


@pytest.mark.parametrize("precision", OUTPUT_PRECISIONS)
@pytest.mark.parametrize("normalize", [False, True])
def test_outputs_are_those_of_python(minilm_bundle, texts, precision, normalize):
    c, python = CModel(minilm_bundle), Encoder.load(minilm_bundle, artifact="int8-native")
    assert c.artifact == "int8-native"
    for dimension in (None, 1, 5, 8, 129, 383):
        ranges = ranges_for(dimension or 384) if precision in ("int8", "uint8") else None
        options = {"precision": precision, "normalize_embeddings": normalize}
        same(c, python, texts, truncate_dim=dimension, ranges=ranges, **options)


def test_more_texts_than_a_window(tiny_bundle, texts):
    many = [f"{text} {index}" for index in range(150) for text in texts]
    c, python = CModel(tiny_bundle, threads=2), Encoder.load(tiny_bundle, artifact="int8-native")
    same(c, python, many)
    same(c, python, many, precision="ubinary", truncate_dim=20)


@pytest.mark.parametrize(
    "options",
    [{}, {"prompt_name": "web search"}, {"prompt": "请 "}, {"prompt": ""}, {"prompt_name": "document"}],
)
def test_prompts_are_those_of_python(prompted_bundle, texts, options):
    same(CModel(prompted_bundle), Encoder.load(prompted_bundle, artifact="int8-native"), texts, **options)


def test_a_prompt_of_no_bundle_or_of_another_route_is_refused(prompted_bundle):
    c = CModel(prompted_bundle)
    for options, reason in [
        ({"prompt_name": "nothing"}, "passage, query, web search"),
        ({"prompt_name": "passage"}, "--route passage"),
        ({"prompt_name": "passage", "prompt": "x"}, "--route passage"),
        ({"prompt": b"\xff"}, "not UTF-8"),
    ]:
        with pytest.raises(CBundleError, match=reason) as caught:
            c.encode(["text"], **options)
        assert caught.value.code == ARGUMENT


@pytest.mark.parametrize("prompt", ["", "query: ", "为这个句子生成表示：", "word " * 600, "[SEP]"])
def test_prompts_stay_out_of_the_pooling(unpooled_bundle, texts, prompt):
    c, python = CModel(unpooled_bundle), Encoder.load(unpooled_bundle)
    assert python.artifact.name == c.artifact
    same(c, python, texts, prompt=prompt)


def test_a_bundle_with_fewer_dimensions_by_default(bundle, texts):
    manifest = Bundle.open(bundle).manifest
    golden = GoldenVectors.pack(manifest.golden.texts, manifest.golden.unpack(64)[:, :24])
    fewer = msgspec.structs.replace(manifest, truncate_dim=24, golden=golden)
    (bundle / "manifest.json").write_bytes(fewer.to_json())
    c, python = CModel(bundle), Encoder.load(bundle, artifact="int8-native")
    assert python.dimension == c.functions.m3e_model_dimension(c.handle) == 24
    same(c, python, texts)
    same(c, python, texts, truncate_dim=64)
    assert c.least_golden_cosine() > 0.9


def test_what_was_cut_off_is_counted(tiny_bundle):
    c = CModel(tiny_bundle)
    most = c.functions.m3e_model_max_tokens(c.handle)
    texts = ["the", "the " * (most - 2), "the " * (most - 1), "the " * 3 * most]
    cut = c.embed(texts, c_bundles.Embedding(ctypes.sizeof(c_bundles.Embedding)))[1]
    assert cut.tolist() == [0, 0, 1, 2 * most + 2]


def test_a_text_that_is_not_utf8_is_named(tiny_bundle):
    c = CModel(tiny_bundle, threads=2)
    for place in (0, 700, 4999):
        texts = ["文本" * 20] * 5000
        texts[place] = b"\xe4\xbd"
        with pytest.raises(CBundleError, match=f"text {place}:.*UTF-8") as caught:
            c.encode(texts)
        assert caught.value.code == ARGUMENT
    zero = "a\x00b"
    python = Encoder.load(tiny_bundle, artifact="int8-native")
    np.testing.assert_array_equal(c.encode([zero])[0], python.encode(zero))


def test_no_texts_are_no_vectors_and_no_error(tiny_bundle):
    assert CModel(tiny_bundle).encode([]).shape == (0, 64)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"truncate_dim": 65}, "truncate_dim is 65"),
        ({"truncate_dim": -1}, "truncate_dim is -1"),
        ({"precision": "int8"}, "need ranges"),
        ({"precision": "uint8", "ranges": np.full((2, 64), np.nan, np.float32)}, "NaN"),
        ({"precision": "uint8", "ranges": np.full((2, 64), np.inf, np.float32)}, "NaN"),
    ],
)
def test_options_out_of_range_are_refused(tiny_bundle, options, reason):
    with pytest.raises(CBundleError, match=reason) as caught:
        CModel(tiny_bundle).encode(["text"], **options)
    assert caught.value.code == ARGUMENT


def test_structures_are_read_by_their_size(tiny_bundle):
    whole = ctypes.sizeof(native_tokenizer.Options)
    older = native_tokenizer.Options(16, 1, b"no such instruction set", b"no such artifact", 1)
    assert CModel(tiny_bundle, options=older).artifact == "int8-native"
    for size in (0, 1, 7, 12, 8192, 2**63):
        options = native_tokenizer.Options(size, 1, None, None, 0)
        refuse(ARGUMENT, tiny_bundle, "m3e_options.size", options=options)

    class Newer(ctypes.Structure):
        _fields_ = [("known", native_tokenizer.Options), ("unknown", ctypes.c_void_p)]

    newer = Newer(native_tokenizer.Options(ctypes.sizeof(Newer), 1, None, None, 0), None)
    assert newer.known.size > whole
    assert CModel(tiny_bundle, options=newer).artifact == "int8-native"
    newer.unknown = 1
    refuse(ARGUMENT, tiny_bundle, "older than its caller", options=newer)
    refuse(ARGUMENT, tiny_bundle, "reserved", options=native_tokenizer.Options(whole, 1, None, None, 0, 1))


def test_a_long_message_ends_with_a_whole_character(tmp_path):
    for length in range(480, 500):
        refuse(FILE, tmp_path / ("x" * (length % 5) + "句" * 80) / ("量" * 80))


def test_the_size_of_a_vector_is_zero_for_what_is_refused(tiny_bundle):
    c = CModel(tiny_bundle)
    asked = c_bundles.Embedding(ctypes.sizeof(c_bundles.Embedding))
    assert c.functions.m3e_vector_size(c.handle, None) == 256
    for field, value in [("truncate_dim", 65), ("output", 6), ("output", -1), ("size", 3)]:
        wrong = c_bundles.Embedding.from_buffer_copy(asked)
        setattr(wrong, field, value)
        assert c.functions.m3e_vector_size(c.handle, ctypes.byref(wrong)) == 0


def test_a_call_can_be_stopped(tiny_bundle):
    asked = []
    stop = STOP(lambda context: asked.append(1) or 1)
    with pytest.raises(CBundleError) as caught:
        CModel(tiny_bundle).encode(["今天天气很好 " * 60] * 100_000, stop=stop)
    assert caught.value.code == STOPPED
    assert asked == [1]


def test_threads_share_a_model(tiny_bundle, texts):
    c, found = CModel(tiny_bundle, threads=2), {}
    expected = c.encode(texts)

    def work(number):
        found[number] = [c.encode(texts) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for vectors in found.values():
        for each in vectors:
            np.testing.assert_array_equal(each, expected)


def _in_child(c, texts, pipe):
    pipe.send(c.encode(texts).tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() on this system")
def test_a_child_of_fork_uses_its_parents_model(tiny_bundle, texts):
    c = CModel(tiny_bundle, threads=2)
    expected = c.encode(texts)
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(c, texts, sending))
    child.start()
    assert receiving.poll(60)
    assert receiving.recv() == expected.tobytes()
    child.join()


def test_golden_vectors(minilm_bundle, bundle):
    for artifact, least in (("fp32-native", 0.9999), ("int8-native", 0.9)):
        assert CModel(minilm_bundle, artifact).least_golden_cosine() > least
    golden = CModel(bundle).least_golden_cosine()
    edit(bundle, lambda manifest: manifest["golden"]["texts"].reverse())
    with pytest.raises(CBundleError, match="golden text") as caught:
        CModel(bundle).least_golden_cosine()
    assert caught.value.code == INTEGRITY
    assert golden > 0.5


@pytest.mark.parametrize("function", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_that_of_python(bundle, texts, function):
    update_json(bundle / "manifest.json", similarity=function)
    c, python = CModel(bundle), Encoder.load(bundle, artifact="int8-native")
    a, b = python.encode(texts[:5]), python.encode(texts[3:])
    np.testing.assert_allclose(c.similarity(a, b), python.similarity(a, b), rtol=1e-5, atol=5e-3)


@pytest.mark.parametrize(
    "left",
    [["int8-native", "int8-cpu"], ["fp16-native", "fp32-native", "fp32-cpu"], ["fp16-native", "fp16-cpu"]],
)
def test_the_fastest_artifact_that_is_native(minilm_bundle, tmp_path, left):
    path = shutil.copytree(minilm_bundle, tmp_path / "bundle")

    def keep(manifest):
        manifest["artifacts"] = [each for each in manifest["artifacts"] if each["name"] in left]
        kept = {file["path"] for each in manifest["artifacts"] for file in each["files"]}
        for file in (path / "native").iterdir():
            if f"native/{file.name}" not in kept:
                file.unlink()

    edit(path, keep)
    assert CModel(path).artifact == Encoder.load(path, backend="native", device="cpu").artifact.name


def test_an_artifact_that_is_not_there_or_does_not_run_here(bundle):
    refuse(ARGUMENT, bundle, "no artifact 'fp64-native'.*int8-native", artifact="fp64-native")
    refuse(UNSUPPORTED, bundle, "fp32-cpu is for another engine", artifact="fp32-cpu")
    edit(bundle, lambda m: m.update(artifacts=[a for a in m["artifacts"] if a["format"] == "onnx"]))
    refuse(UNSUPPORTED, bundle, "--target native")


def test_weights_of_another_version_do_not_run_here(bundle):
    def newer(manifest):
        for artifact in manifest["artifacts"]:
            artifact["requires"] = dict.fromkeys(artifact["requires"], "99")

    edit(bundle, newer)
    refuse(UNSUPPORTED, bundle, "requires native 99")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_breaks_the_schema_is_refused(bundle, change):
    edit(bundle, change)
    refuse(FORMAT, bundle, "manifest")


def test_a_message_has_no_control_characters(bundle):
    edit(bundle, put("\x00\x1b[2J surprise", 1))
    refuse(FORMAT, bundle, "[?][?]\\[2J surprise")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"dimension": 64', '"dimension": 64, "dimension": 64'),
        lambda text: text.replace('"dimension": 64', '"dimension": 064'),
        lambda text: text.replace('"dimension": 64', '"dimension": +64'),
        lambda text: text[:-3],
        lambda text: text + "x",
        lambda text: text.replace("{", "{" + "[" * 70 + "]" * 70 + ":1,", 1),
        lambda text: "[" + "0," * (1 << 21) + "0]",
    ],
)
def test_json_that_is_not_strict_is_refused(bundle, change):
    text = json.dumps(read_json(bundle / "manifest.json"))
    (bundle / "manifest.json").write_text(change(text))
    refuse(FORMAT, bundle, "manifest")


@pytest.mark.parametrize("version", [2, 99, 0, -1, "1", None, 1.5, [1]])
def test_a_manifest_of_another_version_says_to_upgrade(bundle, version):
    update_json(bundle / "manifest.json", schema_version=version)
    refuse(FORMAT, bundle, "schema version")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe", b"\x00" * 100])
def test_a_manifest_that_is_no_object_is_refused(bundle, content):
    (bundle / "manifest.json").write_bytes(content)
    refuse(FORMAT, bundle)


def test_a_byte_order_mark_before_the_manifest(bundle):
    manifest = bundle / "manifest.json"
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert CModel(bundle).encode(["今天"]).shape == (1, 64)


def test_a_folder_without_a_bundle(tmp_path):
    refuse(FILE, tmp_path / "none", "m3e-export")
    refuse(FILE, tmp_path, "no manifest.json")


def entry_of(manifest, which):
    if which == "artifact":
        return next(a for a in manifest["artifacts"] if a["name"] == "int8-native")["files"][0]
    return manifest["tokenization"]["file"] if which == "tokenizer" else manifest["files"][0]


@pytest.mark.parametrize(
    "path", ["../outside", "onnx/../../outside", "/outside", "..\\outside", "", ".", "./..", "..", "a\0b"]
)
@pytest.mark.parametrize("which", ["artifact", "tokenizer", "companion"])
def test_a_path_out_of_the_folder_is_refused(bundle, path, which):
    shutil.copyfile(bundle / WEIGHTS, bundle.parent / "outside")
    edit(bundle, lambda manifest: entry_of(manifest, which).update(path=path))
    refuse(INTEGRITY, bundle, "not inside the bundle")
    refuse(INTEGRITY, bundle, "not inside the bundle", verify=False)


@pytest.mark.parametrize("name", [WEIGHTS, "native", "tokenizer.json", "config.json"])
def test_a_link_out_of_the_folder_is_refused(bundle, name):
    outside = bundle.parent / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    refuse(INTEGRITY, bundle, "link")
    refuse(INTEGRITY, bundle, "link", verify=False)


def test_a_link_within_the_folder_is_followed(bundle):
    (bundle / "tokenizer.json").rename(bundle / "other.json")
    (bundle / "tokenizer.json").symlink_to("other.json")
    assert CModel(bundle).encode(["今天"]).shape == (1, 64)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_damaged_file_is_refused(bundle, name):
    data = (bundle / name).read_bytes()
    for content, reason in [
        (data[:-1], "bytes where the manifest says"),
        (b"", "bytes where the manifest says"),
        (data[:-1] + bytes([data[-1] ^ 1]), "SHA-256"),
        (bytes([data[0] ^ 1]) + data[1:], "SHA-256"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
    ]:
        (bundle / name).write_bytes(content)
        refuse(INTEGRITY, bundle, reason)
        with pytest.raises(CBundleError, match=reason):
            c_bundles.verify(bundle)
    (bundle / name).unlink()
    refuse(INTEGRITY, bundle, "missing")
    (bundle / name).mkdir()
    refuse(INTEGRITY, bundle, "missing")


@pytest.mark.parametrize("digest", ["0" * 64, "", "zz"])
def test_a_wrong_hash_is_refused(bundle, digest):
    edit(bundle, lambda manifest: entry_of(manifest, "artifact").update(sha256=digest))
    refuse(INTEGRITY, bundle, "SHA-256")
    assert CModel(bundle, verify=False).artifact == "int8-native"


def test_a_file_beside_the_weights_is_refused(bundle):
    (bundle / "native" / "deep").mkdir()
    (bundle / "native" / "deep" / "unlisted").write_bytes(b"")
    refuse(INTEGRITY, bundle, "deep/unlisted: not named in the manifest")


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b'{"model": {}}'])
def test_a_vouched_for_tokenizer_that_is_garbage_is_refused(bundle, content):
    (bundle / "tokenizer.json").write_bytes(content)
    found = {"size": len(content), "sha256": sha256_of(bundle / "tokenizer.json")}
    edit(bundle, lambda manifest: entry_of(manifest, "tokenizer").update(found))
    refuse(FORMAT, bundle, "tokenizer.json")


def test_a_dimension_that_the_weights_do_not_have_is_refused(bundle):
    def change(manifest):
        manifest["dimension"] = 32
        manifest["golden"]["texts"] *= 2

    edit(bundle, change)
    refuse(FORMAT, bundle, "gives 64 dimensions, the manifest says 32")


def test_verification_names_artifacts(bundle):
    c_bundles.verify(bundle)
    c_bundles.verify(bundle, "int8-native")
    (bundle / "onnx" / "model.onnx").write_bytes(b"of another artifact")
    c_bundles.verify(bundle, "int8-native")
    for artifact, code in ((None, INTEGRITY), ("fp32-cpu", INTEGRITY), ("nothing", ARGUMENT)):
        with pytest.raises(CBundleError) as caught:
            c_bundles.verify(bundle, artifact)
        assert caught.value.code == code


def test_a_bundle_describes_itself(prompted_bundle, minilm_bundle):
    found = json.loads(c_bundles.info(prompted_bundle))
    assert found["prompts"] == {"query": "为这个句子: ", "passage": "", "web search": "how "}
    assert found["default_prompt_name"] == found["route"] == "query"
    found = json.loads(c_bundles.info(minilm_bundle))
    why_not = {each["name"]: each["why_not_here"] for each in found["artifacts"]}
    assert found["artifact"] == "int8-native"
    assert why_not["int8-native"] is None
    assert why_not["fp32-cpu"] == "is for another engine (onnx)"


def test_names_in_chinese(tiny_bundle, tmp_path):
    path = shutil.copytree(tiny_bundle, tmp_path / "句向量 \N{SNOWMAN}")
    same(CModel(path), Encoder.load(path, artifact="int8-native"), ["今天天气很好"])
