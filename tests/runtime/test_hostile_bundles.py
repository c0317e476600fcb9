"""Damaged and malicious bundles: a typed error, and no file outside the folder is read."""

import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper

from hostile_manifests import CHANGES
from m3e_runtime import Bundle, BundleError, BundleIntegrityError, Encoder
from m3e_runtime.backends import Choice, load_backend
from m3e_runtime.bundle import sha256_of
from m3e_runtime.cli import main as check
from m3e_runtime.gpu.driver import Gpu
from synthetic import read_json, write_json

MODEL = "onnx/model.onnx"


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def fp32(manifest):
    return next(a for a in manifest["artifacts"] if a["name"] == "fp32-cpu")


def edit(bundle, change):
    manifest = read_json(bundle / "manifest.json")
    change(manifest)
    write_json(bundle / "manifest.json", manifest)


def load(bundle, **options):
    return Encoder.load(bundle, artifact="fp32-cpu", **options)


def refuse(bundle, error=BundleError, match=None):
    with pytest.raises(error, match=match):
        load(bundle)
    assert check([str(bundle)]) == 4


def vouch(bundle, name):
    """Make the manifest agree with what the file is now."""

    def change(manifest):
        for entry in [entry for artifact in manifest["artifacts"] for entry in artifact["files"]]:
            if entry["path"] == name:
                entry["size"] = (bundle / name).stat().st_size
                entry["sha256"] = sha256_of(bundle / name)

    edit(bundle, change)


def test_the_untouched_copy_loads(bundle):
    assert load(bundle).encode("今天").shape == (64,)


@pytest.mark.parametrize("name", [MODEL, "tokenizer.json"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_truncated_file_is_an_integrity_error(bundle, name, keep):
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[: int(len(data) * keep)])
    refuse(bundle, BundleIntegrityError, "bytes where the manifest says")


@pytest.mark.parametrize("name", [MODEL, "tokenizer.json"])
@pytest.mark.parametrize("position", [0, 0.5, -1])
def test_a_flipped_bit_is_an_integrity_error(bundle, name, position):
    data = bytearray((bundle / name).read_bytes())
    data[int(position * len(data)) if position != -1 else -1] ^= 1
    (bundle / name).write_bytes(data)
    refuse(bundle, BundleIntegrityError, "SHA-256")


@pytest.mark.parametrize("digest", ["0" * 64, "", "zz"])
def test_a_wrong_hash_is_an_integrity_error(bundle, digest):
    edit(bundle, lambda manifest: fp32(manifest)["files"][0].update(sha256=digest))
    refuse(bundle, BundleIntegrityError, "SHA-256")


@pytest.mark.parametrize("name", [MODEL, "tokenizer.json"])
def test_a_missing_file_is_an_integrity_error(bundle, name):
    (bundle / name).unlink()
    refuse(bundle, BundleIntegrityError, "missing")


@pytest.mark.parametrize(
    "path",
    ["../outside", "onnx/../../outside", "/outside", "..\\outside", "", ".", "./..", "..", "C:\\outside"],
)
@pytest.mark.parametrize("which", ["artifact", "tokenizer", "companion"])
def test_a_path_out_of_the_folder_is_an_integrity_error(bundle, path, which):
    shutil.copyfile(bundle / MODEL, bundle.parent / "outside")

    def change(manifest):
        entry = {
            "artifact": fp32(manifest)["files"][0],
            "tokenizer": manifest["tokenization"]["file"],
            "companion": manifest["files"][0],
        }[which]
        entry["path"] = path

    edit(bundle, change)
    refuse(bundle, BundleIntegrityError)


@pytest.mark.parametrize("name", [MODEL, "onnx", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_an_integrity_error(bundle, name):
    outside = bundle.parent / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    refuse(bundle, BundleIntegrityError, "link")


def test_links_are_refused_without_verification_too(bundle):
    (bundle / MODEL).rename(bundle.parent / "outside")
    (bundle / MODEL).symlink_to(bundle.parent / "outside")
    with pytest.raises(BundleIntegrityError, match="link"):
        load(bundle, verify=False)


@pytest.mark.parametrize("version", [2, 99, 0, -1, "1", None, 1.5, [1]])
def test_a_manifest_of_another_version_says_to_upgrade(bundle, version):
    edit(bundle, lambda manifest: manifest.update(schema_version=version))
    refuse(bundle, BundleError, "schema version")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_breaks_the_schema_is_a_bundle_error(bundle, change):
    edit(bundle, change)
    refuse(bundle, BundleError, "manifest")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda content: repr(content[:8]),
)
def test_a_manifest_that_is_no_object_is_a_bundle_error(bundle, content):
    (bundle / "manifest.json").write_bytes(content)
    refuse(bundle, BundleError)


def test_a_missing_manifest_is_a_bundle_error(bundle):
    (bundle / "manifest.json").unlink()
    refuse(bundle, BundleError, "manifest.json")


def test_a_dimension_that_the_model_does_not_have_is_a_bundle_error(bundle):
    manifest = read_json(bundle / "manifest.json")
    texts = manifest["golden"]["texts"][:2]
    vectors = manifest["golden"]["vectors"]

    def change(manifest):
        manifest["dimension"] = 32
        manifest["golden"] = {"texts": texts * 16, "vectors": vectors}

    edit(bundle, change)
    with pytest.raises(BundleError, match="32"):
        load(bundle)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", bytes(range(256)) * 16, b"PK\x03\x04", b"\x80\x04."], ids=range(5)
)
def test_a_vouched_for_model_that_is_garbage_is_a_bundle_error(bundle, content):
    (bundle / MODEL).write_bytes(content)
    vouch(bundle, MODEL)
    refuse(bundle, BundleError)


def test_a_vouched_for_tokenizer_that_is_garbage_is_a_bundle_error(bundle):
    (bundle / "tokenizer.json").write_text('{"model": {}}')

    def change(manifest):
        entry = manifest["tokenization"]["file"]
        entry["size"] = (bundle / "tokenizer.json").stat().st_size
        entry["sha256"] = sha256_of(bundle / "tokenizer.json")

    edit(bundle, change)
    with pytest.raises(BundleError, match="tokenizer"):
        load(bundle)


def small_model(inputs=("input_ids", "attention_mask"), output="sentence_embedding"):
    """A valid model that sums a weight of 64 numbers into every vector."""
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 64])
    secret = helper.make_tensor("secret", TensorProto.FLOAT, [64], np.zeros(64, np.float32))
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Cast", [inputs[0]], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats", "axes"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "secret"], [output]),
    ]
    graph = helper.make_graph(nodes, "small", ids, [result], [secret, axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def external(model, location):
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "256")):
        tensor.external_data.add(key=key, value=value)
    return model


def install(bundle, model):
    (bundle / MODEL).write_bytes(model.SerializeToString())
    vouch(bundle, MODEL)


def test_the_small_model_is_one_that_loads(bundle):
    """So that the refusals below are for what they say."""
    install(bundle, small_model())
    assert load(bundle).encode("今天").shape == (64,)
    (bundle / "onnx" / "inside").write_bytes(np.ones(64, "<f4").tobytes())
    install(bundle, external(small_model(), "inside"))

    def also_inside(manifest):
        file = bundle / "onnx" / "inside"
        entry = {"path": "onnx/inside", "size": file.stat().st_size, "sha256": sha256_of(file)}
        fp32(manifest)["files"].append(entry)

    edit(bundle, also_inside)
    assert (load(bundle).encode("今天") > 0).all()


@pytest.mark.parametrize("location", ["../secret", "../../secret", "ABSOLUTE", "onnx/../../secret", "link"])
def test_external_data_outside_the_folder_is_not_read(bundle, location):
    data = np.full(64, 1234.5, "<f4").tobytes()
    for folder in (bundle, bundle.parent):
        (folder / "secret").write_bytes(data)
    if location == "link":
        (bundle / "onnx" / "link").symlink_to(bundle.parent / "secret")
    install(
        bundle, external(small_model(), str(bundle.parent / "secret") if location == "ABSOLUTE" else location)
    )
    with pytest.raises(BundleError):
        load(bundle)


def test_external_data_that_the_manifest_does_not_vouch_for_is_not_read(bundle):
    """A file beside the model, with no hash in the manifest: whoever swaps it changes the vectors unseen."""
    (bundle / "onnx" / "unlisted").write_bytes(np.ones(64, "<f4").tobytes())
    install(bundle, external(small_model(), "unlisted"))
    with pytest.raises(BundleError):
        load(bundle)


@pytest.mark.parametrize(
    "interface",
    [{"inputs": ("ids", "mask")}, {"inputs": ("input_ids", "mask")}, {"output": "pooled"}],
    ids=str,
)
def test_a_model_of_another_interface_is_a_bundle_error(bundle, interface):
    install(bundle, small_model(**interface))
    with pytest.raises(BundleError, match="input_ids and attention_mask"):
        load(bundle)


def test_a_model_that_cannot_leave_prompts_out_is_a_bundle_error(bundle):
    edit(bundle, lambda manifest: manifest.update(include_prompt=False))
    refuse(bundle, match="prompt_length.*include_prompt=false")


def test_prompts_that_an_engine_for_a_gpu_would_pool_are_a_bundle_error(bundle):
    edit(bundle, lambda manifest: manifest.update(include_prompt=False))
    opened = Bundle.open(bundle)
    gpu = Gpu(0, "GPU", "8.0")
    with pytest.raises(BundleError, match="include_prompt=false is not supported on a GPU"):
        load_backend(opened, Choice(opened.manifest.artifacts[0], "onnxruntime", gpu, ""), 1, verify=False)


def test_a_model_with_an_unknown_operator_is_a_bundle_error(bundle):
    model = small_model()
    model.graph.node[2].op_type = "RunCommand"
    model.graph.node[2].domain = "evil"
    model.opset_import.append(helper.make_opsetid("evil", 1))
    install(bundle, model)
    with pytest.raises(BundleError, match="cannot load"):
        load(bundle)


def test_reading_the_manifest_opens_no_other_file(bundle):
    dimension = read_json(bundle / "manifest.json")["dimension"]
    for file in bundle.rglob("*"):
        if file.is_file() and file.name != "manifest.json":
            file.unlink()
    assert Bundle.open(bundle).manifest.dimension == dimension
