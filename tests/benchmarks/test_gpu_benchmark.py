"""The benchmark on a GPU, rehearsed without one."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "sentence-transformers-fp32"
PEERS = ["sentence-transformers-bf16", "torch-fp16-unpadded"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *map(str, options)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rehearsal")
    done = run(
        "--device", "cpu", "--output", folder, "--contestants", REFERENCE, *PEERS, "ours-tensorrt-fp16"
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.json")
    return file, json.loads(file.read_text(encoding="utf-8")), done


@pytest.mark.slow
def test_a_rehearsal_compares_everyone_with_the_reference(rehearsal):
    _, results, _ = rehearsal
    (shape,) = results["runs"]
    assert results["rehearsal"]
    for name in (REFERENCE, *PEERS):
        found = shape["found"][name]
        assert found["min_cosine"] >= 0.999, name  # two different texts have about 0.96
        assert set(found["workloads"]) == {
            "12 tokens",
            "32 tokens",
            "1 × 128 tokens",
            "32 × 64 tokens",
            "corpus",
        }
        assert found["workloads"]["12 tokens"]["p99_s"] >= found["workloads"]["12 tokens"]["median_s"]
        assert found["workloads"]["corpus"]["ceiling_share"] > 0
    assert shape["unrelated_cosine"] < 0.99


@pytest.mark.slow
def test_who_cannot_run_is_not_measured_and_says_why(rehearsal):
    _, results, _ = rehearsal
    found = results["runs"][0]["found"]["ours-tensorrt-fp16"]
    assert found["not_measured"]
    assert "workloads" not in found


@pytest.mark.slow
def test_the_files_of_a_rehearsal_say_that_it_is_one(rehearsal):
    file, _, done = rehearsal
    assert "rehearsal" in file.name
    table = file.with_suffix(".md").read_text(encoding="utf-8")
    assert table.startswith("# REHEARSAL ON A CPU")
    assert "| ours-tensorrt-fp16 | not measured: " in table
    drawn = file.with_suffix(".png").exists()
    assert drawn == (importlib.util.find_spec("matplotlib") is not None)
    assert drawn or "no plot: matplotlib is not installed" in done.stderr


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_the_workloads_that_it_had(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--output", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--contestants", REFERENCE], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (found := list(tmp_path.glob("*.json"))) and process.poll() is None:
        time.sleep(0.02)
    results = json.loads(found[0].read_text(encoding="utf-8"))
    process.kill()
    process.wait()
    (shape,) = results["runs"]
    assert not shape["finished"]
    assert list(shape["found"][REFERENCE]["workloads"]) == ["12 tokens"]


def test_kept_models_are_made_once_and_failures_again(tmp_path, monkeypatch):
    from benchmarks import kept_models

    made = []

    def prepare(names, checkpoint):
        made.append(names)
        return {name: "no GPU" if name == "b" else checkpoint / name for name in names}

    monkeypatch.setattr(kept_models, "prepare", prepare)
    for _ in range(2):
        models = kept_models.kept_models(["a", "b"], "rehearsal", tmp_path)
    assert models == {"a": tmp_path / "rehearsal/checkpoint/a", "b": "no GPU"}
    assert made == [["a", "b"], ["b"]]


def test_without_a_gpu_one_sentence_says_what_to_run():
    done = run(CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 5
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "run `python -m benchmarks.gpu` on a machine with an NVIDIA GPU" in line


def test_a_rehearsal_writes_nowhere_unless_told():
    done = run("--device", "cpu")
    assert done.returncode == 2
    assert "--output" in done.stderr


def test_of_two_onnxruntimes_the_one_that_is_imported_is_named(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from benchmarks.machine import describe

    assert "onnxruntime" in describe()["packages"]
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    (tmp_path / "onnxruntime_gpu-9.dist-info").mkdir()
    (tmp_path / "onnxruntime_gpu-9.dist-info" / "METADATA").write_text("Name: onnxruntime-gpu\nVersion: 9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    packages = describe()["packages"]
    assert "onnxruntime" not in packages
    assert packages["onnxruntime-gpu"] == "9"


def test_operations_are_those_counted_by_hand():
    from benchmarks.ceiling import model_flops

    sizes = {"layers": 2, "hidden": 3, "heads": 1, "intermediate": 5}
    # A token, a layer: four products with 3·3 weights and two with 3·5, two operations a weight.
    by_token = 2 * (4 * 9 + 2 * 15)
    # A text of n tokens, a layer: n·n scores of 3 products and sums, and as much for the weighted sums.
    attention = {4: 2 * 4 * 4 * 3 * 2, 1: 2 * 1 * 1 * 3 * 2}
    assert model_flops(sizes, [4, 1]) == 2 * (5 * by_token + attention[4] + attention[1]) == 1728
