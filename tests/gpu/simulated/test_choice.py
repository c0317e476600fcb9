"""What runs where there is a GPU: the best of what the bundle has, and why."""

import json
import sys

import msgspec
import numpy as np
import pytest

from gpu.simulated.onnxruntime_gpu import Library
from gpu.simulated.tensorrt import make_module
from m3e_export import ExportRequest, export
from m3e_runtime import Bundle, Encoder, EngineMissingError, OptionError
from m3e_runtime.cli import main as check


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint, tmp_path_factory):
    """For ONNX Runtime on a GPU, and for the CPU."""
    folder = tmp_path_factory.mktemp("choice") / "bundle"
    targets = ("cpu", "cuda", "cuda-packed")
    return export(ExportRequest(str(tiny_checkpoint), folder, ("fp32", "fp16"), targets, gate="off")).path


@pytest.fixture(autouse=True)
def library(monkeypatch):
    library = Library().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    return library


@pytest.mark.parametrize(("device", "index"), [("auto", "0"), ("cuda", "0"), ("cuda:1", "1")])
def test_the_gpu_is_taken_in_fp16_and_says_so(bundle, library, texts, device, index):
    encoder = Encoder.load(bundle, device=device)
    assert encoder.artifact.name == "fp16-cuda"
    assert encoder.info["device"] == "Simulated GPU"
    assert encoder.info["engine"] == "onnxruntime-cuda 1.31.1"
    assert library.sessions[0].options["device_id"] == index
    reference = Encoder.load(bundle, device="cpu", artifact="fp32-cpu").encode(texts)
    assert np.abs(encoder.encode(texts) - reference).max() < 2e-2
    for text, vector in zip(texts, reference, strict=True):
        assert np.abs(encoder.encode(text) - vector).max() < 2e-2


def test_a_library_that_is_missing_leaves_the_cpu_to_auto_only(bundle, library):
    library.available = ["CPUExecutionProvider"]
    encoder = Encoder.load(bundle)
    assert encoder.info["device"] == "cpu"
    assert "cannot be used, ONNX Runtime is there in its package for CPUs" in encoder.info["why"]
    with pytest.raises(EngineMissingError, match=r"fp16-cuda, .*fp32-cuda.* cannot be used"):
        Encoder.load(bundle, device="cuda")


def test_the_cpu_that_was_asked_for_is_taken(bundle, library):
    assert Encoder.load(bundle, device="cpu").info["device"] == "cpu"
    assert library.sessions == []


def test_an_artifact_that_was_asked_for_is_taken(bundle):
    assert Encoder.load(bundle, artifact="fp32-cuda").info["why"].endswith("as asked for")
    with pytest.raises(OptionError, match="device='tensorrt' cannot run fp16-cuda"):
        Encoder.load(bundle, device="tensorrt", artifact="fp16-cuda")


@pytest.mark.parametrize("backend", ["onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx"])
def test_tensorrts_providers_take_the_graph_of_an_engine(bundle, library, texts, backend, monkeypatch, cache):
    """The engine itself is not touched: there is none here."""
    library.available = [*library.available, "NvTensorRTRTXExecutionProvider"]
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, make_module("11.0"))
    opened = Bundle.open(bundle)
    (graph,) = (a for a in opened.manifest.artifacts if a.name == "fp32-cpu")
    files = (graph.files[0], *graph.files)
    engine = msgspec.structs.replace(graph, name="engine", format="tensorrt", files=files)
    manifest = msgspec.structs.replace(opened.manifest, artifacts=(engine,))
    monkeypatch.setattr(Bundle, "open", staticmethod(lambda path: Bundle(bundle, manifest)))
    encoder = Encoder.load(bundle, backend=backend, verify=False)
    assert encoder.info["engine"] == f"{backend} 1.31.1"
    options = library.sessions[0].options
    assert any(name.endswith("_profile_max_shapes") and ":32x512" in text for name, text in options.items())
    assert any(text.startswith(str(cache / "providers")) for text in options.values())
    vectors = encoder.encode(texts)
    monkeypatch.undo()
    assert (
        np.abs(vectors - Encoder.load(bundle, device="cpu", artifact="fp32-cpu").encode(texts)).max() < 1e-5
    )


def test_a_gpu_that_is_not_there_is_named(bundle):
    with pytest.raises(EngineMissingError, match="no GPU 7"):
        Encoder.load(bundle, device="cuda:7")


def test_check_runs_what_is_for_the_gpu_where_there_is_one(tiny_checkpoint, tmp_path, library, capsys):
    request = ExportRequest(str(tiny_checkpoint), tmp_path / "bundle", ("fp16",), ("cuda", "cpu"), gate="off")
    folder = str(export(request).path)
    assert check([folder, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in result["artifacts"]} == {"fp16-cuda", "fp16-cpu"}
    assert len(library.sessions) == 1
    library.available = ["CPUExecutionProvider"]
    assert check([folder, "--json"]) == 0
    assert "package for CPUs" in json.loads(capsys.readouterr().out)["not_run"]["fp16-cuda"]
