"""The scripts of examples/ run."""

import importlib.util
import shutil
import subprocess
import sys

import pytest

from m3e_runtime.backends import native
from pages import ROOT

EXAMPLES = ROOT / "examples"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_example(name, *arguments):
    return run(sys.executable, "-X", "utf8", EXAMPLES / name, *arguments)


def skip_without(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")


def test_every_example_is_run_here_and_listed():
    tests = (ROOT / "tests" / "docs" / "test_examples.py").read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.glob("*.py"):
        assert f'"{file.name}"' in tests, file.name
        assert f"`{file.name} " in listed, file.name


def test_encode(tiny_bundle, tiny_encoder):
    assert f": 3 texts, {tiny_encoder.dimension} dimensions" in run_example("encode.py", tiny_bundle)


def test_async(tiny_bundle, tiny_encoder):
    shown = run_example("async_encode.py", tiny_bundle)
    assert shown == f"100 vectors of {tiny_encoder.dimension} dimensions\n"


def test_sentence_transformers_import(tiny_bundle):
    assert run_example("sentence_transformers_import.py", tiny_bundle).startswith("[[")


def test_langchain(tiny_bundle):
    skip_without("langchain_core")
    assert run_example("langchain_search.py", tiny_bundle)


def test_corpus(tiny_bundle, tmp_path):
    skip_without("pyarrow")
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 1, "text": "你好"}\n{"id": 2, "text": "世界"}\n', encoding="utf-8")
    shown = run_example("corpus_to_parquet.py", tiny_bundle, source, tmp_path / "out.parquet")
    assert shown == "2 rows of text, id, embedding\n"


def test_http(service, tiny_encoder):
    assert run_example("http_client.py", service) == f"2 vectors of {tiny_encoder.dimension} dimensions\n"


def test_openai(service, tiny_encoder):
    skip_without("openai")
    assert run_example("openai_client.py", service) == f"2 vectors of {tiny_encoder.dimension} dimensions\n"


def test_c(tiny_bundle, tiny_encoder, tmp_path):
    for program in ("make", "cc"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    if native.missing():
        pytest.skip(str(native.missing()))
    run("make", "-C", EXAMPLES / "c", f"OUT={tmp_path}", f"PYTHON={sys.executable}")
    (weights,) = (tiny_bundle / "native").glob("*int8*.safetensors")
    assert f"{tiny_encoder.dimension} dimensions, cosine" in run(tmp_path / "encode", weights)
    shown = run(tmp_path / "embed", tiny_bundle, "今天天气很好", "天气不错", "model text")
    assert [line.partition("  ")[2] for line in shown.splitlines()] == ["天气不错", "model text"]
