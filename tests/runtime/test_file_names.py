"""Names of files and folders that are not UTF-8, and terminals that cannot show them."""

import json
import logging
import os
import shutil
import subprocess
import sys

import msgspec
import pytest

from m3e_corpora.inputs.rows import BadRow
from m3e_corpora.job.stored import from_json, to_json
from m3e_export.checkpoint.source import source_name
from m3e_runtime.file_names import shown
from m3e_serve import cli as serve
from without_torch import WITHOUT_TORCH

LOCALES = [
    {"LC_ALL": "C.UTF-8"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
]
GBK = "中文".encode("gbk")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="names on Windows are UTF-16")


@pytest.fixture
def folder(tmp_path):
    """A folder with a name in GBK, as bytes."""
    made = os.path.join(os.fsencode(tmp_path), GBK)
    try:
        os.mkdir(made)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return made


def run(module, *arguments, locale):
    return run_python("-m", module, *arguments, locale=locale)


def run_python(*arguments, locale):
    command = [os.fsencode(sys.executable), *map(os.fsencode, arguments)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(command, env={**kept, **locale}, capture_output=True, timeout=300)
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done


@pytest.mark.parametrize(
    ("output", "locale"), zip([b"v.npy", b"v.jsonl", b"v.parquet", b"v/"], LOCALES, strict=True)
)
def test_corpora_have_names_that_are_not_utf_8(tiny_bundle, folder, output, locale):
    inputs = os.path.join(folder, GBK)
    os.mkdir(inputs)
    with open(os.path.join(inputs, GBK + b".txt"), "wb") as stream:
        stream.write("一\n二\n\n".encode() + b"\xff\n")
    target = os.path.join(folder, GBK + output)
    options = ["--partition-size", "4", "--json", "--on-error", "skip", "--no-progress"]
    for more in ([], ["--force"]):
        done = run("m3e_corpora.cli", tiny_bundle, inputs, "-o", target, *options, *more, locale=locale)
        assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout)  # strict: no lone surrogates
    assert (found["texts"], found["skipped"]) == (3, 1)
    assert found["output"].endswith(shown(os.fsdecode(GBK)) + output.decode())
    assert rb"\xd6\xd0\xce\xc4.txt, line 4" in done.stderr
    rejected = (b"/_m3e/rejected.jsonl") if output == b"v/" else b".rejected.jsonl"
    with open(target.rstrip(b"/") + rejected, "rb") as stream:
        row = msgspec.json.decode(stream.read())
    assert row["file"].endswith(r"\xd6\xd0\xce\xc4.txt")
    if output == b"v/":
        again = run("m3e_corpora.cli", tiny_bundle, inputs, "-o", target, *options, "--resume", locale=locale)
        assert json.loads(again.stdout)["resumed"] == found["partitions"]


def test_an_index_has_a_name_that_is_not_utf_8(tiny_bundle, folder):
    pytest.importorskip("faiss", reason="faiss is not installed")
    file, target = os.path.join(folder, b"in.txt"), os.path.join(folder, GBK + b".faiss")
    with open(file, "w") as stream:
        stream.write("one\ntwo\n")
    done = run("m3e_corpora.cli", tiny_bundle, file, "-o", target, locale=LOCALES[0])
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(target) > 0


@pytest.mark.parametrize("locale", LOCALES[2:])
@pytest.mark.parametrize(
    "module", ["m3e_runtime.cli", "m3e_serve.cli", "m3e_export.cli", "m3e_export.quickstart"]
)
def test_every_command_tells_what_is_not_there(folder, module, locale):
    done = run(module, os.path.join(folder, GBK), locale=locale)
    assert done.returncode == 4
    assert rb"\xd6\xd0\xce\xc4" in done.stderr


@pytest.mark.parametrize("locale", LOCALES)
def test_help_is_printed_in_every_locale(locale):
    for module in (
        "m3e_runtime.cli",
        "m3e_corpora.cli",
        "m3e_serve.cli",
        "m3e_export.cli",
    ):
        assert run(module, "--help", locale=locale).returncode == 0


@pytest.mark.parametrize("locale", LOCALES)
def test_checkpoints_and_bundles_have_names_that_are_not_utf_8(tiny_checkpoint, folder, locale):
    checkpoint, bundle = os.path.join(folder, GBK), os.path.join(folder, GBK + b"-out")
    shutil.copytree(tiny_checkpoint, os.fsdecode(checkpoint))
    # One locale is enough for PyTorch as the judge: importing it takes longer than everything else.
    oracle = "auto" if locale == LOCALES[2] else "numpy"
    options = ["--precision", "fp32", "--json", "--oracle", oracle]
    exported = run("m3e_export.cli", checkpoint, "-o", bundle, *options, locale=locale)
    assert exported.returncode == 0, exported.stderr
    assert msgspec.json.decode(exported.stdout)["source"] == r"\xd6\xd0\xce\xc4"
    checked = run("m3e_runtime.cli", bundle, "--json", locale=locale)
    assert checked.returncode == 0, checked.stderr
    assert msgspec.json.decode(checked.stdout)["bundle"].endswith(r"\xd6\xd0\xce\xc4-out")
    assert run("m3e_runtime.cli", bundle, locale=locale).returncode == 0


def test_quickstart_prints_its_table_on_an_ascii_terminal(tiny_checkpoint, tmp_path):
    code = f"{WITHOUT_TORCH}\nfrom m3e_export.quickstart import main; sys.exit(main(sys.argv[1:]))"
    options = ["--precision", "fp32", "-o", tmp_path / "bundle"]
    done = run_python("-c", code, tiny_checkpoint, *options, locale=LOCALES[3])
    assert done.returncode == 0, done.stderr
    assert rb"\u4f60\u597d" in done.stdout


def test_names_are_shown_as_valid_unicode():
    assert shown(os.fsdecode(b"a\xd6\xd0/") + "中") == r"a\xd6\xd0/中"
    assert shown("\ud800") == r"\ud800"
    assert source_name("x", "y") == "x"
    assert serve._model_source("\udcd6\udcd0").name == r"\xd6\xd0"


def test_what_is_stored_comes_back():
    row = BadRow("\udcd6.txt", "line 1", "中")
    assert from_json(to_json(row), BadRow) == row
    with pytest.raises(ValueError, match="nested"):
        from_json("[" * 100_000, BadRow)


def test_logs_of_the_service_are_valid_json():
    logs = pytest.importorskip("m3e_serve.monitoring.logs", reason="orjson is not installed")
    record = logging.LogRecord("m", logging.INFO, "f", 1, "bad %s", ("\udcd6",), None)
    assert json.loads(logs.JsonFormatter().format(record))["message"] == r"bad \xd6"
