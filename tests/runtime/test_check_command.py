"""``m3e-check``: passes a whole bundle, fails a damaged or drifted one."""

import json
import shutil
import sys

import msgspec
import numpy as np
import pytest

from m3e_export import ExportRequest, export
from m3e_export.targets import default_targets
from m3e_runtime import Encoder, Reranker
from m3e_runtime.backends import native
from m3e_runtime.bundle import Bundle
from m3e_runtime.cli import main
from m3e_runtime.manifest import MANIFEST_NAME, GoldenVectors


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_a_whole_bundle_passes(minilm_bundle, capsys):
    assert main([str(minilm_bundle)]) == 0
    out = capsys.readouterr().out
    assert "hashes match" in out
    assert out.count(": ok") == 3 * len(default_targets())


def test_json_names_every_artifact(tiny_bundle, capsys):
    assert main([str(tiny_bundle), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert [artifact["name"] for artifact in result["artifacts"]] == [
        f"{precision}-{target}" for precision in ("fp32", "int8") for target in default_targets()
    ]


def _no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_vectors_that_are_not_finite_are_null_in_json(tiny_bundle, capsys, monkeypatch):
    monkeypatch.setattr(Encoder, "encode", lambda *_, **__: np.full((1, 64), np.nan, dtype=np.float32))
    assert main([str(tiny_bundle), "--json"]) == 3
    result = json.loads(capsys.readouterr().out, parse_constant=_no_constant)
    assert [each["min_cosine"] for each in result["artifacts"]] == [None] * len(result["artifacts"])


def test_scores_that_are_not_finite_are_null_in_json(scoring_bundles, capsys, monkeypatch):
    monkeypatch.setattr(Reranker, "logits", lambda *_, **__: np.full((1, 1), np.inf, dtype=np.float32))
    assert main([str(scoring_bundles[1]), "--json"]) == 3
    result = json.loads(capsys.readouterr().out, parse_constant=_no_constant)
    assert {each["max_difference"] for each in result["artifacts"]} == {None}


def test_a_flipped_byte_is_exit_4(copy, capsys):
    model = copy / "onnx" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    assert main([str(copy)]) == 4
    assert "SHA-256" in capsys.readouterr().err


def test_vectors_that_drifted_are_exit_3(copy, capsys):
    manifest = Bundle.open(copy).manifest
    golden = manifest.golden.unpack(manifest.dimension)[:, ::-1]
    changed = msgspec.structs.replace(
        manifest, golden=GoldenVectors.pack(manifest.golden.texts, np.array(golden))
    )
    (copy / MANIFEST_NAME).write_bytes(changed.to_json())
    assert main([str(copy)]) == 3
    assert "BELOW ITS GATE" in capsys.readouterr().out


def test_a_folder_that_is_no_bundle_is_exit_4(tmp_path, capsys):
    assert main([str(tmp_path)]) == 4
    assert "m3e-export" in capsys.readouterr().err


def test_what_has_to_run_and_cannot_is_exit_5(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    if native.missing():
        pytest.skip(native.missing())
    request = ExportRequest(str(tiny_checkpoint), tmp_path / "bundle", targets=("native",), gate="off")
    path = export(request).path
    monkeypatch.setattr(native, "_import_error", ImportError("no module"))
    monkeypatch.setattr(native, "library_file", lambda: None)
    assert main([str(path)]) == 5
    assert "was not built" in capsys.readouterr().err


def test_a_bundle_of_which_nothing_can_run_does_not_pass(copy, capsys):
    manifest = Bundle.open(copy).manifest
    engines = tuple(
        msgspec.structs.replace(each, format="tensorrt", files=(each.files[0], each.files[0]))
        for each in manifest.artifacts
    )
    (copy / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, artifacts=engines).to_json())
    assert main([str(copy)]) == 5
    assert "nothing in it can be run here" in capsys.readouterr().err


def test_one_artifact_can_be_checked_without_the_files_of_the_others(copy, capsys):
    (copy / "onnx" / "model.onnx").write_bytes(b"of another artifact, and not what was exported")
    assert main([str(copy), "--artifact", "int8-cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [artifact["name"] for artifact in result["artifacts"]] == ["int8-cpu"]
    assert result["not_run"] == {}
    assert main([str(copy), "--artifact", "fp32-cpu"]) == 4


def test_an_unknown_artifact_is_exit_2_and_the_known_are_named(tiny_bundle, capsys):
    assert main([str(tiny_bundle), "--artifact", "fp64-cpu"]) == 2
    assert "int8-cpu" in capsys.readouterr().err


def test_an_engine_that_cannot_be_imported_is_told_of_beside_what_ran(tiny_bundle, monkeypatch, capsys):
    if native.missing():
        pytest.skip(native.missing())
    monkeypatch.setattr("m3e_runtime.cli.why_not_here", lambda artifact: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main([str(tiny_bundle), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["not_run"]) == {"fp32-cpu", "int8-cpu"}
