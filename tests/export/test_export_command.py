"""``m3e-export``: exit codes, one clear line, all or nothing, the same bytes every time, no torch needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3e_export import bundle_writer
from m3e_export.cli import default_output, main
from m3e_export.gate import DEFAULT_THRESHOLDS
from m3e_export.request import TARGET_NAMES
from m3e_export.targets import TARGETS
from m3e_runtime import Bundle
from m3e_runtime.backends.choice import CPU_BACKENDS
from m3e_runtime.manifest import GateThresholds
from synthetic import TINY, make_checkpoint
from without_torch import WITHOUT_TORCH


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def run_command(*arguments, **environment):
    code = "import sys; from m3e_export.cli import main; sys.exit(main(sys.argv[1:]))"
    return run_python(code, *arguments, **environment)


def run_without_torch(*arguments):
    code = f"{WITHOUT_TORCH}\nfrom m3e_export.cli import main; sys.exit(main(sys.argv[1:]))"
    return run_python(code, *arguments)


def one_line(err):
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("m3e-export: ")
    return lines[0]


def content(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.fixture
def out(tmp_path):
    """A bundle path in a folder of its own, so that leftovers are seen."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "bundle"


@pytest.fixture
def arguments(tiny_checkpoint, few_texts, out):
    return [str(tiny_checkpoint), "-o", str(out), "--gate", str(few_texts)]


@pytest.fixture
def impossible_gate(monkeypatch):
    monkeypatch.setitem(DEFAULT_THRESHOLDS, "fp32", GateThresholds(min_cosine=1.1))


def test_success_is_exit_0_with_a_report(arguments, out, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "fp32-cpu" in printed.out
    assert "licence" in printed.out
    assert printed.err == ""
    assert os.listdir(out.parent) == ["bundle"]


def test_json_says_what_was_written(arguments, out, capsys):
    assert main([*arguments, "--json", "--precision", "fp32", "fp16", "--target", "cpu", "portable"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bundle"] == str(out)
    names = [artifact["name"] for artifact in result["artifacts"]]
    assert names == ["fp32-cpu", "fp32-portable", "fp16-cpu", "fp16-portable"]
    for artifact in result["artifacts"]:
        assert artifact["bytes"] == sum((out / file).stat().st_size for file in artifact["files"])
        assert 0.9995 <= artifact["fidelity"]["min_cosine"] <= 1.000001


@pytest.mark.parametrize(
    "wrong", [["--precision", "int4"], ["--target", "tpu"], ["--pooling", "median"], ["--nothing"]]
)
def test_a_wrong_option_is_exit_2(arguments, out, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, *wrong])
    assert stopped.value.code == 2
    assert wrong[-1] in capsys.readouterr().err
    assert not out.exists()


def test_a_max_length_beyond_the_model_is_exit_2(arguments, out, capsys):
    assert main([*arguments, "--max-length", "513"]) == 2
    assert "512" in one_line(capsys.readouterr().err)
    assert os.listdir(out.parent) == []


def test_an_existing_bundle_is_replaced_by_force_only(arguments, out, capsys):
    assert main(arguments) == 0
    before = content(out)
    capsys.readouterr()
    assert main([*arguments, "--precision", "fp16"]) == 2
    assert "--force" in one_line(capsys.readouterr().err)
    assert content(out) == before
    assert main([*arguments, "--precision", "fp16", "--force"]) == 0
    assert {artifact.precision for artifact in Bundle.open(out).manifest.artifacts} == {"fp16"}
    assert os.listdir(out.parent) == ["bundle"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_folder_or_file_that_is_no_bundle_is_never_replaced(arguments, out, force, capsys):
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    assert main([*arguments, *force]) == 2
    assert "not a bundle" in one_line(capsys.readouterr().err)
    assert content(out) == {"precious.txt": b"mine"}


def test_an_empty_folder_is_filled(arguments, out):
    out.mkdir()
    assert main(arguments) == 0
    assert Bundle.open(out).manifest.dimension == TINY["hidden"]


def test_below_the_gate_is_exit_3_and_leaves_nothing(arguments, out, impossible_gate, capsys):
    assert main(arguments) == 3
    line = one_line(capsys.readouterr().err)
    assert "min_cosine" in line
    assert "1.1" in line
    assert os.listdir(out.parent) == []


def test_below_the_gate_an_older_bundle_stays_as_it_was(arguments, out, monkeypatch, capsys):
    assert main(arguments) == 0
    before = content(out)
    monkeypatch.setitem(DEFAULT_THRESHOLDS, "fp32", GateThresholds(min_cosine=1.1))
    assert main([*arguments, "--force"]) == 3
    assert content(out) == before
    assert os.listdir(out.parent) == ["bundle"]


def test_with_the_gate_off_it_is_written_and_says_so(tiny_checkpoint, out, impossible_gate):
    assert main([str(tiny_checkpoint), "-o", str(out), "--gate", "off"]) == 0
    measured = Bundle.open(out).manifest.artifacts[0].fidelity
    assert not measured.enforced
    assert measured.thresholds.min_cosine == 1.1


@pytest.mark.parametrize("checkpoint", ["no/such/checkpoint/here", "/", ""])
def test_something_that_is_no_checkpoint_is_exit_4(checkpoint, out, capsys):
    assert main([checkpoint, "-o", str(out)]) == 4
    one_line(capsys.readouterr().err)
    assert os.listdir(out.parent) == []


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_gate_texts_are_read_as_editors_of_windows_leave_them(tmp_path, suffix):
    from m3e_export.texts import read_texts

    texts = [f"text {number}" for number in range(30)]
    lines = texts
    if suffix == ".jsonl":
        texts[3] = "a line\u2028within"  # which JSON lets stand as it is
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    file = tmp_path / f"gate{suffix}"
    file.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    assert read_texts(file) == tuple(texts)


def test_too_few_gate_texts_are_exit_4(tiny_checkpoint, tmp_path, out, capsys):
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    assert main([str(tiny_checkpoint), "-o", str(out), "--gate", str(tmp_path / "few.txt")]) == 4
    assert "2 different texts" in one_line(capsys.readouterr().err)
    assert os.listdir(out.parent) == []


def test_a_failed_export_leaves_no_new_parent_folders(tmp_path, capsys):
    (tmp_path / "no checkpoint").mkdir()
    assert main([str(tmp_path / "no checkpoint"), "-o", str(tmp_path / "new" / "deep" / "bundle")]) == 4
    assert os.listdir(tmp_path) == ["no checkpoint"]


def test_an_interrupt_leaves_nothing(arguments, out, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_writer, "make_manifest", interrupted)
    assert main(arguments) == 130
    assert "no file was written" in one_line(capsys.readouterr().err)
    assert os.listdir(out.parent) == []


def test_two_exports_in_two_processes_give_the_same_bytes(arguments, out):
    contents, options = [], ["--force", "--precision", "fp32", "int8", "--gate", "off", "--oracle", "numpy"]
    for seed in ("1", "2"):
        done = run_command(*arguments, *options, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        contents.append(content(out))
    assert contents[0].keys() == contents[1].keys()
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []


def test_without_torch_numpy_judges(arguments, out):
    done = run_without_torch(*arguments)
    assert done.returncode == 0, done.stderr
    measured = Bundle.open(out).manifest.artifacts[0].fidelity
    assert measured.oracle.startswith("numpy")
    assert measured.min_cosine >= 0.99999


def test_without_torch_its_oracle_is_exit_5(arguments, out):
    done = run_without_torch(*arguments, "--oracle", "torch")
    assert done.returncode == 5
    assert "m3e-runtime[torch]" in one_line(done.stderr)
    assert os.listdir(out.parent) == []


@pytest.mark.parametrize("weights", ["pickle", "sharded-pickle"])
def test_without_torch_a_pickle_is_exit_5(weights, tmp_path, out):
    checkpoint = make_checkpoint(tmp_path / "model", **TINY, weights=weights)
    done = run_without_torch(checkpoint, "-o", out)
    assert done.returncode == 5
    assert "m3e-runtime[torch]" in one_line(done.stderr)
    assert os.listdir(out.parent) == []


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_the_runtime_never_imports_what_only_the_exporter_needs(tiny_bundle, backend):
    code = (
        "import json, sys; from m3e_runtime import Encoder; encoder = Encoder.load(sys.argv[1], "
        "backend=sys.argv[2]); encoder.encode(['今天', 'hello']); print(json.dumps(list(sys.modules)))"
    )
    done = run_python(code, tiny_bundle, backend)
    assert done.returncode == 0, done.stderr
    imported = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert ("onnxruntime" in imported) == (backend == "onnxruntime")
    exporters = {
        "torch",
        "transformers",
        "sentence_transformers",
        "onnx",
        "onnx_ir",
        "m3e_export",
        "safetensors",
    }
    assert imported & exporters == set()


@pytest.mark.parametrize(
    ("checkpoint", "precisions", "name"),
    [
        ("moka-ai/m3e-base", ["fp16"], "m3e-base-fp16"),
        ("m3e-small", ["fp32", "int8"], "m3e-small-fp32-int8"),
        ("./models/my-finetune/", ["int8"], "my-finetune-int8"),
        ("models\\my-finetune", ["fp32"], "my-finetune-fp32"),
    ],
)
def test_the_default_output_is_the_name_and_the_precisions(checkpoint, precisions, name):
    assert default_output(checkpoint, precisions) == Path(name)


@pytest.mark.parametrize("here", [".", "./"])
def test_the_default_output_of_the_current_folder_has_its_name(here, tmp_path, monkeypatch):
    (tmp_path / "finetune").mkdir()
    monkeypatch.chdir(tmp_path / "finetune")
    assert default_output(here, ["fp32"]) == Path("finetune-fp32")


def test_the_command_knows_every_target():
    assert tuple(TARGETS) == TARGET_NAMES
