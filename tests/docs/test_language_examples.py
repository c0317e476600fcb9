"""The packages of examples/ in other languages, each by the commands of its README.

A language whose programs are not here is skipped. The C library is that of ``M3E_ROOT``, or that of the
installed package. The bundle is that of ``M3E_BUNDLE``, or MiniLM. Packages for node come from the folder
``M3E_NODE_PACKAGES``.
"""

import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from m3e_runtime import Encoder
from m3e_runtime.backends import native
from pages import ROOT, blocks_of

EXAMPLES = ROOT / "examples"
PROGRAMS = {
    "csharp": ("mcs", "mono"),
    "go": ("go", "cc"),
    "java": ("javac", "java"),
    "node": ("node", "npm"),
    "rust": ("cargo", "cc"),
}
LANGUAGES = sorted(PROGRAMS)
TEXTS = ("good morning", "早上好")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def root() -> Path:
    """The folder with ``include`` and ``lib``."""
    if named := os.environ.get("M3E_ROOT"):
        return Path(named)
    if reason := native.missing():
        pytest.skip(reason)
    return native.c_interface_folder()


@pytest.fixture(scope="module")
def golden_bundle(request) -> Path:
    """A bundle whose int8 artifact keeps close to its golden vectors, which random weights do not."""
    named = os.environ.get("M3E_BUNDLE")
    return Path(named) if named else request.getfixturevalue("minilm_bundle")


@pytest.fixture(scope="module")
def expected(golden_bundle) -> float:
    with closing(Encoder.load(golden_bundle)) as encoder:
        a, b = encoder.encode(list(TEXTS), normalize_embeddings=True)
    return float(a @ b)


@pytest.fixture
def environment(root, golden_bundle, tmp_path) -> dict[str, str]:
    """Variables of the READMEs; build outputs stay in ``tmp_path``, and nothing is downloaded."""
    variables = dict(os.environ)
    if home := variables.get("JAVA_HOME"):
        variables["PATH"] = f"{home}/bin{os.pathsep}{variables['PATH']}"
    return variables | {
        "M3E_ROOT": str(root),
        "M3E_BUNDLE": str(golden_bundle.absolute()),
        "CARGO_NET_OFFLINE": "true",
        "CC": "cc",
        "GOFLAGS": "-buildvcs=false",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }


@pytest.fixture
def folder(environment, tmp_path):
    """Makes a copy of a language's example, or skips it."""

    def copy(language: str) -> Path:
        for program in PROGRAMS[language]:
            needs(shutil.which(program, path=environment["PATH"]), program)
        copied = shutil.copytree(EXAMPLES / language, tmp_path / language)
        if prepare := PREPARE.get(language):
            prepare(copied, environment)
        return copied

    return copy


def needs(found, what: str) -> None:
    if not found:
        pytest.skip(f"needs {what}")


def with_packages(copied: Path, _environment) -> None:
    packages = Path(os.environ.get("M3E_NODE_PACKAGES", "missing")) / "node_modules"
    needs((packages / "koffi").is_dir(), "M3E_NODE_PACKAGES, a folder with node_modules/koffi")
    (copied / "node_modules").symlink_to(packages.absolute())


def with_memory_api(_copied: Path, environment) -> None:
    shown = run("javac", "-version", env=environment)
    needs(int(re.search(r"\d+", shown)[0]) >= 22, f"Java 22 or later, and this is {shown.strip()}")


def with_serialization(copied: Path, environment) -> None:
    (copied / "empty.cs").touch()
    command = ["mcs", "-target:library", "-r:System.Runtime.Serialization", "empty.cs"]
    done = subprocess.run(command, cwd=copied, env=environment, capture_output=True, check=False, timeout=60)
    needs(done.returncode == 0, "Mono's assembly System.Runtime.Serialization")


PREPARE = {"csharp": with_serialization, "java": with_memory_api, "node": with_packages}


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_of_the_readme(language, folder, environment, expected):
    """They build the package, run its tests, golden vectors among them, and end with a similarity."""
    where = folder(language)
    blocks = [block for block in blocks_of(EXAMPLES / language / "README.md") if block.language == "bash"]
    commands = "".join(block.code for block in blocks if block.needs is None)
    assert all(f'"{text}"' in commands for text in TEXTS)
    shown = run("bash", "-euo", "pipefail", "-c", commands, cwd=where, env=environment)
    assert float(shown.split()[-1]) == pytest.approx(expected, abs=1e-3)


def test_format_of_go(folder, environment):
    needs(shutil.which("gofmt"), "gofmt")
    assert run("gofmt", "-l", ".", cwd=folder("go"), env=environment) == ""


def test_format_of_rust(folder, environment):
    needs(shutil.which("rustfmt"), "rustfmt")
    run("cargo", "fmt", "--check", cwd=folder("rust"), env=environment)


def test_all_languages_are_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.glob("*/README.md"):
        assert file.parent.name in PROGRAMS
        assert f"[`{file.parent.name}/`]({file.parent.name}/README.md)" in listed
