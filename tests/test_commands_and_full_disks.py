"""Outputs that cannot be written: one sentence, exit code 1, and nothing half-written left behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from commands import COMMANDS
from m3e_corpora import cli as encode
from m3e_eval import cli as evaluation_cli
from m3e_eval import report
from m3e_export import cli as export_cli
from m3e_export import companions, quickstart
from m3e_export.bundle_writer import prepared_folder
from m3e_export.checkpoint.pooling import Dense
from m3e_export.errors import OutputError
from m3e_runtime import cli as check
from m3e_runtime.encoder import Encoder
from without_torch import WITHOUT_TORCH

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX limits and pipes")


def one_line(err, command):
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith(f"{command}: ")
    return lines[0]


def limited(command, *arguments, size):
    """Run a command that may write files of ``size`` bytes at most."""
    return limited_python("-m", COMMANDS[command], *arguments, size=size)


def limited_python(*arguments, size):
    import resource

    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


@pytest.fixture
def gate(tmp_path):
    file = tmp_path / "gate.txt"
    file.write_text("\n".join(f"text {number}" for number in range(20)))
    return str(file)


@pytest.fixture
def blocked(tmp_path):
    """A folder that cannot be made: a file stands above it."""
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "below"


def test_export_below_a_file_is_exit_1(tiny_checkpoint, gate, blocked, capsys):
    assert export_cli.main([str(tiny_checkpoint), "-o", str(blocked / "bundle"), "--gate", gate]) == 1
    assert "cannot be written" in one_line(capsys.readouterr().err, "m3e-export")


def test_quickstart_below_a_file_is_exit_1(tiny_checkpoint, blocked, capsys):
    assert quickstart.main([str(tiny_checkpoint), "-o", str(blocked)]) == 1
    assert "cannot be written" in one_line(capsys.readouterr().err, "m3e-quickstart")


def test_eval_below_a_file_is_exit_1_before_the_evaluation(tiny_bundle, blocked, capsys, monkeypatch):
    monkeypatch.delattr(evaluation_cli, "evaluate")
    assert evaluation_cli.main([str(tiny_bundle), "--golden", "-o", str(blocked)]) == 1
    assert "cannot be written" in one_line(capsys.readouterr().err, "m3e-eval")


def test_encode_to_parts_below_a_file_is_one_line(tiny_bundle, gate, blocked, capsys):
    assert encode.main([str(tiny_bundle), gate, "-o", f"{blocked}/parts/"]) in (1, 2)
    one_line(capsys.readouterr().err, "m3e-encode")


def test_a_name_that_is_too_long_is_exit_1(tiny_checkpoint, gate, out, capsys):
    assert export_cli.main([str(tiny_checkpoint), "-o", str(out / ("n" * 300)), "--gate", gate]) == 1
    assert "cannot be written" in one_line(capsys.readouterr().err, "m3e-export")
    assert os.listdir(out) == []


@pytest.mark.parametrize("size", [1000, 50_000, 100_000])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_export_to_a_full_disk_is_exit_1_and_leaves_nothing(tiny_checkpoint, gate, out, size, precision):
    """The limit strikes in the tokenizer, in the small graph, and in the weights."""
    arguments = [tiny_checkpoint, "-o", out / "new" / "bundle", "--gate", gate, "--precision", precision]
    done = limited("m3e-export", *arguments, "--oracle", "numpy", size=size)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in one_line(done.stderr, "m3e-export")
    assert os.listdir(out) == []


def test_a_dense_module_on_a_full_disk_is_exit_1(out, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(out), "write_bytes", full)
    layer = Dense(np.zeros((2, 2), np.float32), np.zeros(2, np.float32), "tanh")
    with pytest.raises(OutputError, match="No space left"), prepared_folder(out / "bundle", False) as work:
        companions._write_layer(work, layer)
    assert os.listdir(out) == []


def test_quickstart_to_a_full_disk_is_exit_1_and_leaves_nothing(tiny_checkpoint, out):
    code = f"{WITHOUT_TORCH}\nfrom m3e_export.quickstart import main; sys.exit(main(sys.argv[1:]))"
    done = limited_python("-c", code, tiny_checkpoint, "-o", out / "bundle", size=50_000)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in one_line(done.stderr, "m3e-quickstart")
    assert os.listdir(out) == []


def test_a_replaced_bundle_comes_back_where_the_new_one_cannot_take_its_place(out, monkeypatch):
    target = out / "bundle"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    replace = os.replace

    def refuse(source, destination):
        if str(destination) == str(target) and "-old-" not in str(source):
            raise OSError(28, "No space left on device")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="No space left"), prepared_folder(target, True):
        pass
    assert os.listdir(out) == ["bundle"]
    assert (target / "manifest.json").read_text() == "old"


def test_scores_are_all_written_or_none(out, monkeypatch):
    monkeypatch.setattr(report, "as_json", lambda found: {})
    monkeypatch.setattr(report, "as_markdown", lambda found: "# Scores")
    monkeypatch.setattr(report, "_plot", lambda found: b"PNG")

    class Found:
        rows = (1,)

    (out / "scores").mkdir()
    (out / "scores" / "scores.md").mkdir()  # so that it cannot be replaced
    with pytest.raises(OutputError):
        report.write_files(Found(), out / "scores")
    assert "scores.json" not in os.listdir(out / "scores")
    assert sorted(os.listdir(report.write_files(Found(), out / "new" / "deep")[0].parent)) == [
        "scores.json",
        "scores.md",
        "scores.png",
    ]


def test_the_system_refusing_anything_else_is_one_line(tiny_bundle, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(check, "check_artifact", refuse)
    assert check.main([str(tiny_bundle)]) == 1
    assert one_line(capsys.readouterr().err, "m3e-check") == "m3e-check: /somewhere: Permission denied."


def test_serve_without_a_place_for_its_figures_is_one_line(tiny_bundle, tmp_path):
    pytest.importorskip("uvicorn", reason="m3e-serve is not installed")
    code = (
        "import sys, tempfile\n"
        "from m3e_serve.process import workers\n"
        "def refuse(*a, **k): raise OSError(28, 'No space left on device', '/tmp')\n"
        "workers.tempfile.mkdtemp = refuse\n"
        "from m3e_serve.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [
        str(tiny_bundle),
        "--workers",
        "2",
        "--uds",
        str(tmp_path / "socket"),
        "--log-level",
        "error",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert "No space left on device: '/tmp'; set TMPDIR" in one_line(done.stderr, "m3e-serve")


# --- standard output


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_report_on_a_full_disk_is_exit_1(tiny_bundle):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", COMMANDS["m3e-check"], str(tiny_bundle)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    one_line(done.stderr, "m3e-check")


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("command", COMMANDS)
def test_help_to_a_reader_that_went_away_is_no_error(command):
    write = closed_pipe()
    done = subprocess.run(
        [sys.executable, "-m", COMMANDS[command], "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_went_away_does_not_change_the_exit_code(tiny_bundle, tmp_path):
    """A bundle below its gate is exit 3, whoever reads of it."""
    code = (
        "import sys\n"
        "from m3e_runtime import cli as check\n"
        "found = check.check_artifact\n"
        "check.check_artifact = lambda *a: {**found(*a), 'passed': False}\n"
        "sys.exit(check.main(sys.argv[1:]))"
    )
    write = closed_pipe()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle)], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (3, "")


# --- interrupts


def test_an_interrupted_encode_does_not_say_that_nothing_was_written(
    tiny_bundle, tmp_path, out, monkeypatch, capsys
):
    file = tmp_path / "in.txt"
    file.write_text("\n".join(f"text {number}" for number in range(400)))
    real, runs = Encoder.run, iter(range(3))

    def run(self, *arguments):
        if next(runs, None) is None:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(Encoder, "run", run)
    arguments = [str(tiny_bundle), str(file), "-o", str(out / "v.npy"), "--partition-size", "400"]
    assert encode.main([*arguments, "--threads", "1"]) == 130
    line = one_line(capsys.readouterr().err, "m3e-encode")
    assert "partitions are kept in" in line
    assert "--resume" in line
    assert "no file was written" not in line
    monkeypatch.setattr(Encoder, "run", real)
    assert encode.main([*arguments, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] > 0


def test_an_interrupted_check_says_nothing_of_files(tiny_bundle, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "check_artifact", interrupt)
    assert check.main([str(tiny_bundle)]) == 130
    assert capsys.readouterr().err == "m3e-check: interrupted.\n"


def test_the_folder_of_a_job_that_cannot_be_made_is_removed(tiny_bundle, gate, out, monkeypatch, capsys):
    make = os.mkdir

    def refuse(path, *arguments):
        if os.fspath(path).endswith("parts") and "_m3e" in os.fspath(path):
            raise OSError(28, "No space left on device")
        make(path, *arguments)

    monkeypatch.setattr(os, "mkdir", refuse)
    assert encode.main([str(tiny_bundle), gate, "-o", str(out / "v.npy")]) == 1
    assert "No space left" in one_line(capsys.readouterr().err, "m3e-encode")
    assert os.listdir(out) == []
