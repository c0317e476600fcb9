"""An installation without extras: every command gives its help, and names the extra that it needs."""

import json
import subprocess
import sys

import pytest

from commands import COMMANDS
from m3e_runtime.backends import native

_OPTIONAL = {
    *(
        "onnxruntime",
        "safetensors",
        "onnx",
        "onnx_ir",
        "ml_dtypes",
        "threadpoolctl",
        "huggingface_hub",
        "modelscope_hub",
        "torch",
        "transformers",
    ),
    *("sentence_transformers", "mteb", "datasets", "matplotlib", "pyarrow", "faiss", "ray", "pyspark"),
    *("uvicorn", "uvloop", "httptools", "starlette", "orjson", "prometheus_client", "sentencepiece"),
}
_WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        absent = name in {absent!r} or name.partition(".")[0] in {absent!r}
        return None if absent else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Without, sys.meta_path)
{script}
"""


def python(script, *arguments, absent=_OPTIONAL):
    """Run ``script`` where the modules ``absent`` cannot be found."""
    code = _WITHOUT.format(absent=set(absent), script=script)
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def run(command, *arguments, absent=_OPTIONAL):
    script = f"from {COMMANDS[command]} import main\nsys.exit(main(sys.argv[1:]))"
    return python(script, *arguments, absent=absent)


@pytest.fixture
def texts_file(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one\ntwo\n")
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_extra(command):
    shown = run(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: {command}")


@pytest.mark.parametrize(
    ("command", "options", "extra"),
    [
        ("m3e-export", ["{checkpoint}", "-o", "{out}"], "export"),
        ("m3e-quickstart", ["{checkpoint}", "-o", "{out}"], "export"),
        ("m3e-eval", ["{bundle}", "--suite", "m3e"], "eval"),
        ("m3e-serve", ["{bundle}"], "serve"),
        ("m3e-encode", ["{bundle}", "{texts}", "-o", "{out}.parquet"], "parquet"),
        ("m3e-encode", ["{bundle}", "{texts}", "-o", "{out}/"], "parquet"),
        ("m3e-encode", ["{bundle}", "{texts}", "-o", "{out}.faiss"], "faiss"),
    ],
)
def test_a_sentence_names_the_extra(command, options, extra, tiny_bundle, tiny_checkpoint, texts_file, out):
    paths = {"bundle": tiny_bundle, "checkpoint": tiny_checkpoint, "texts": texts_file, "out": out / "new"}
    said = run(command, *(option.format(**paths) for option in options))
    assert said.returncode == 5, said.stderr
    assert said.stdout == ""
    line = said.stderr.splitlines()[-1]
    assert line.startswith(f"{command}: ")
    assert f"pip install 'm3e-runtime[{extra}]'" in line
    assert "Traceback" not in said.stderr
    assert list(out.iterdir()) == []


def test_a_package_that_is_no_extras_stays_an_error_of_the_program(tiny_checkpoint, out):
    said = run(
        "m3e-export",
        tiny_checkpoint,
        "-o",
        out / "new",
        absent={"m3e_export.gate"},
    )
    assert said.returncode == 1
    assert "ModuleNotFoundError" in said.stderr


def test_the_interface_of_python_names_the_extra_too():
    said = python(
        "import m3e_export\ntry: m3e_export.export\nexcept m3e_export.DependencyMissingError as e: print(e)"
    )
    assert "m3e-runtime[export]" in said.stdout


@pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
def test_check_runs_what_can_be_run_and_tells_what_cannot(tiny_bundle):
    shown = run("m3e-check", tiny_bundle)
    assert shown.returncode == 0, shown.stderr
    assert "fp32-native: ok" in shown.stdout
    assert (
        "int8-cpu: not run, ONNX Runtime is not installed: `pip install 'm3e-runtime[cpu]'`" in shown.stdout
    )
    told = json.loads(run("m3e-check", tiny_bundle, "--json").stdout)
    assert told["passed"]
    assert [each["name"] for each in told["artifacts"]] == ["fp32-native", "int8-native"]
    assert set(told["not_run"]) == {"fp32-cpu", "int8-cpu"}


def test_check_of_an_artifact_that_cannot_run_checks_nothing(tiny_bundle):
    said = run("m3e-check", tiny_bundle, "--artifact", "fp32-cpu")
    assert said.returncode == 5
    assert "m3e-runtime[cpu]" in said.stderr


def test_without_any_engine_the_first_load_says_how_to_get_each(tiny_bundle):
    absent = {*_OPTIONAL, "m3e_runtime._native"}
    load = "from m3e_runtime import Encoder, EngineMissingError\ntry: Encoder.load(sys.argv[1])\n"
    said = python(
        f"{load}except EngineMissingError as error: print(error)", tiny_bundle, absent=absent
    ).stdout
    assert "no C++ compiler was found when m3e-runtime was installed" in said or "cannot be loaded" in said
    assert "pip install --force-reinstall --no-deps --no-cache-dir m3e-runtime" in said
    assert "pip install 'm3e-runtime[cpu]'" in said


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("chroma", "chromadb", "chroma"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_an_adapter_names_its_extra(module, package, extra):
    said = python(
        "from m3e_runtime import DependencyMissingError\n"
        f"try: import m3e_runtime.integrations.{module}\n"
        "except DependencyMissingError as error: print(error)",
        absent={package},
    )
    assert said.stderr == ""
    assert said.stdout.endswith(f"is not installed: `pip install 'm3e-runtime[{extra}]'`.\n")


def test_what_the_drop_in_needs_for_tensors_and_its_tokenizer_is_named(tiny_bundle):
    said = python(
        "from m3e_runtime import DependencyMissingError\n"
        "from m3e_runtime.integrations.sentence_transformers import SentenceTransformer\n"
        "model = SentenceTransformer(sys.argv[1])\n"
        "for work in (lambda: model.encode('a', convert_to_tensor=True), lambda: model.tokenizer):\n"
        "    try: work()\n"
        "    except DependencyMissingError as error: print(error)",
        tiny_bundle,
    )
    assert said.stderr == ""
    assert said.stdout.count("`pip install 'm3e-runtime[torch]'`") == 2


def test_importing_the_runtime_is_quiet_and_needs_only_its_dependencies():
    imported = python(
        "import m3e_runtime, m3e_export\n"
        "for name in m3e_runtime.__all__: getattr(m3e_runtime, name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert (imported.returncode, imported.stderr) == (0, "")
    assert "numpy" in imported.stdout.split()  # what the names bring has been imported
    assert not _OPTIONAL & set(imported.stdout.split())
