"""``m3e-export --target tensorrt-rtx``: an engine in the bundle, with what it needs and its graph."""

import json
import sys

import pytest

from m3e_export import ExportRequest, export
from m3e_export.cli import main
from m3e_runtime import Bundle, Encoder, EngineMissingError
from m3e_runtime.backends import native
from m3e_runtime.cli import main as check
from m3e_runtime.gpu.tensorrt import EngineOptions


@pytest.fixture(scope="module")
def bundle(rtx, minilm, few_texts, tmp_path_factory):
    """The real checkpoint: one engine for two GPUs, beside the graph for a CPU.

    Few texts: a CPU takes long for the graph's arithmetic in fp16.
    """
    request = ExportRequest(
        str(minilm),
        tmp_path_factory.mktemp("trt") / "bundle",
        precisions=("fp16",),
        targets=("cpu", "tensorrt-rtx"),
        gate=str(few_texts),
        engine=EngineOptions(compute_capabilities=("8.6", "8.9")),
    )
    return export(request)


def engine_of(bundle: Bundle):
    (artifact,) = (each for each in bundle.manifest.artifacts if each.format == "tensorrt")
    return artifact


def test_the_bundle_holds_the_engine_and_its_graph(rtx, bundle):
    artifact = engine_of(bundle)
    assert artifact.name == "fp16-tensorrt-rtx"
    assert artifact.requires == {"tensorrt_rtx": rtx.version, "compute_capabilities": "8.6 8.9"}
    engine, graph = artifact.files
    assert (engine.path, graph.path) == (
        "tensorrt/model_fp16_tensorrt-rtx.engine",
        "tensorrt/model_fp16_tensorrt-rtx.onnx",
    )
    assert bundle.verify_artifact(artifact).stat().st_size > 40e6


def test_the_graph_was_judged_in_place_of_the_engine(bundle):
    fidelity = engine_of(bundle).fidelity
    assert fidelity.of == "graph"
    assert fidelity.enforced
    assert fidelity.min_cosine >= 0.9999
    assert {each.fidelity.of for each in bundle.manifest.artifacts} == {"graph", "artifact"}


@pytest.mark.slow
def test_int8_keeps_the_ranking(rtx, minilm, tmp_path):
    request = ExportRequest(
        str(minilm), tmp_path / "bundle", precisions=("int8",), targets=("tensorrt-rtx",),
        engine=EngineOptions(compute_capabilities=("8.9",)),
    )  # fmt: skip
    artifact = engine_of(export(request))
    assert artifact.fidelity.mean_cosine >= 0.998
    assert artifact.fidelity.overlap_at_10 >= 0.95
    assert artifact.mix["int8"] >= 8  # of 24; six are queries, keys and values, which gain nothing
    assert sum(artifact.mix.values()) == 24
    assert any(name.endswith("qkv") for name in artifact.kept)


def test_a_cpu_takes_what_it_can_run_and_says_why_not_the_rest(bundle):
    assert Encoder.load(bundle.path).artifact.name == "fp16-cpu"
    with pytest.raises(EngineMissingError, match=r"fp16-tensorrt-rtx cannot be used.*GPU"):
        Encoder.load(bundle.path, artifact="fp16-tensorrt-rtx")


def test_check_verifies_the_files_and_tells_what_it_did_not_run(bundle, capsys):
    assert check([str(bundle.path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [artifact["name"] for artifact in result["artifacts"]] == ["fp16-cpu"]
    assert "GPU" in result["not_run"]["fp16-tensorrt-rtx"]
    assert check([str(bundle.path)]) == 0
    assert "fp16-tensorrt-rtx: not run" in capsys.readouterr().out


def test_a_missing_package_is_exit_5_before_any_work(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    out = tmp_path / "out" / "bundle"
    assert main([str(tiny_checkpoint), "-o", str(out), "--target", "tensorrt-rtx"]) == 5
    assert "m3e-runtime[tensorrt-rtx]" in capsys.readouterr().err
    assert not out.parent.exists()


def test_an_unknown_compute_capability_is_exit_2_and_leaves_nothing(rtx, tiny_checkpoint, tmp_path, capsys):
    out = tmp_path / "out" / "bundle"
    arguments = [str(tiny_checkpoint), "-o", str(out), "--target", "tensorrt-rtx", "--gate", "off"]
    assert main([*arguments, "--compute-capability", "3.5"]) == 2
    assert "3.5" in capsys.readouterr().err
    assert not out.parent.exists()


@pytest.mark.parametrize(
    "option",
    [["--compute-capability", "8.9"], ["--timing-cache", "timings"], ["--refit"], ["--strip-weights"]],
)
def test_options_of_an_engine_without_one_are_exit_2(tiny_checkpoint, tmp_path, option, capsys):
    assert main([str(tiny_checkpoint), "-o", str(tmp_path / "bundle"), *option]) == 2
    assert "tensorrt" in capsys.readouterr().err


@pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
def test_the_default_targets_need_no_tensorrt(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    request = ExportRequest(str(tiny_checkpoint), tmp_path / "bundle", gate="off")
    assert {each.target for each in export(request).manifest.artifacts} == {"native", "cpu"}
