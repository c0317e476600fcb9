"""The steps of a day without a network, rehearsed: on the CPU, with a GPU that is simulated."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = ROOT / "tests/gpu/simulated/site"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def run(*arguments, **environment):
    command = [sys.executable, "-m", "benchmarks.offline.day", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture
def packs(tmp_path):
    """A pack with a package that hides an installed one."""
    from benchmarks.offline.pack import pack

    wheel = tmp_path / "tqdm.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tqdm/__init__.py", "__version__ = 'ours'\n")
    pack([wheel], tmp_path / "packs" / "hidden", 8 << 20)
    return tmp_path / "packs"


def test_what_was_joined_comes_before_what_is_installed(packs, tmp_path):
    from benchmarks.offline.day import environment

    done = run("join", "--packs", packs, "--work", tmp_path / "work", "--output", tmp_path / "output")
    assert done.returncode == 0, done.stdout
    assert "hidden: 1 of 1 files are in place; complete" in done.stdout
    command = [sys.executable, "-c", "import tqdm; print(tqdm.__version__)"]
    target = environment(tmp_path / "work" / "site")
    assert subprocess.run(command, env=target, capture_output=True, text=True).stdout == "ours\n"


def test_cuda_libraries_of_packages_are_on_the_search_path(tmp_path, monkeypatch):
    """ONNX Runtime looks for them beside itself, and it lies in another folder."""
    from benchmarks.offline import day

    for folder in ("nvidia/cu13/lib", "nvidia/cudnn/lib", "nvidia/nccl/lib"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(day.site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.setenv("LD_LIBRARY_PATH", "/before")
    found = day.environment(tmp_path / "site")["LD_LIBRARY_PATH"]
    assert found.split(":") == [f"{tmp_path}/nvidia/cu13/lib", f"{tmp_path}/nvidia/cudnn/lib", "/before"]


def test_a_vital_step_ends_the_command_and_another_does_not(tmp_path):
    common = ("--work", tmp_path / "work", "--output", tmp_path / "output", "--packs", tmp_path / "none")
    done = run("join", "verdict", *common)
    assert done.returncode == 1
    assert "there is no index.json" in done.stdout
    assert "== verdict" not in done.stdout
    assert (tmp_path / "output/day.log").read_text() + "failed: join\n" == done.stdout
    done = run("surroundings", "verdict", "--device", "cpu", *common)
    assert done.returncode == 0, done.stdout
    assert "packages: torch " in done.stdout
    assert "not measured  tests/gpu pass: tests/gpu has not run" in done.stdout


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    from benchmarks.offline import day

    monkeypatch.setattr(day, "_GRACE", 1)
    options = day.argparse.Namespace(work=tmp_path, output=tmp_path, seconds=1.0)
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    assert day.Day(options).execute([sys.executable, "-c", script]) == 124
    assert "the time is over" in (tmp_path / "day.log").read_text()


def test_the_plan_copies_each_part_once_and_fits_into_a_command(packs):
    from benchmarks.offline.plan import LONGEST, commands

    found = commands(packs)
    assert [path.name for path in found[0].copies] == ["index.json", "00.xz"]
    assert found[0].line.split()[3:9] == [
        "surroundings",
        "join",
        "install",
        "begin-prepare",
        "first",
        "--packs",
    ]
    assert all(len(command.line) <= LONGEST and not command.copies for command in found[1:])
    done = run("plan", "--packs", packs)
    assert done.stdout.startswith(f"1. copy {packs}/hidden/index.json {packs}/hidden/00.xz\n")


def test_a_plan_with_a_command_that_is_too_long_is_refused(packs, monkeypatch):
    from benchmarks.offline import plan
    from benchmarks.offline.errors import PackError

    monkeypatch.setattr(plan, "LONGEST", 60)
    with pytest.raises(PackError, match="more than 60"):
        plan.commands(packs)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """The output of the steps that measure, on a simulated GPU."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("rehearsal")
    path = os.pathsep.join([str(SIMULATED), os.environ.get("PYTHONPATH", "")])
    steps = ("begin-prepare", "prepare", "first", "quick", "profile", "ncu", "verdict")
    done = run(
        *steps,
        "--device",
        "cpu",
        "--seconds",
        3600,
        "--work",
        folder / "work",
        "--output",
        folder / "output",
        PYTHONPATH=path,
    )
    return folder / "output", done


@pytest.mark.slow
def test_every_step_leaves_what_the_verdict_needs(rehearsed):
    folder, done = rehearsed
    assert done.returncode == 0, done.stdout
    words = (folder / "verdict.txt").read_text()
    assert words.startswith("REHEARSAL")
    judged = {line.split(":")[1].strip() for line in words.splitlines() if line.startswith("rehearsed")}
    assert judged == {"mean cosine at least 0.9999", "worst cosine at least 0.9995"}
    (file,) = folder.glob("gpu-*.json")
    (run_,) = json.loads(file.read_text())["runs"]
    assert run_["finished"]
    ours = run_["found"]["ours-cuda-fp16"]
    assert ours["min_cosine"] >= 0.999
    assert ours["details"]["records"] is True
    assert ours["details"]["recordings"] > 0
    assert "Simulated GPU" in ours["details"]["why"]


@pytest.mark.slow
def test_the_first_vectors_are_compared_and_what_fails_says_why(rehearsed):
    folder, _ = rehearsed
    first = json.loads((folder / "first.json").read_text())
    assert first["library"]["version"]
    assert first["contestants"]["ours-cuda-fp16"]["min_cosine"] >= 0.999
    # The simulation has no packed attention.
    assert "error" in first["contestants"]["ours-cuda-packed-fp16"]


@pytest.mark.slow
def test_the_profile_has_a_query_and_a_batch_and_the_operators(rehearsed):
    folder, _ = rehearsed
    profile = json.loads((folder / "profile.json").read_text())
    ours = profile["contestants"]["ours-cuda-fp16"]
    assert ours["query"]["seconds"] > 0
    assert ours["batch"]["graph_launches"] == 0
    assert "Attention" in str(ours["operators"])
    assert "not_measured" in profile["contestants"]["ours-cuda-packed-fp16"]
