"""What each package offers: a name that comes or goes is seen in review."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SURFACE = {
    "m3e_runtime": [
        "AsyncEncoder",
        "AsyncReranker",
        "Bundle",
        "BundleError",
        "BundleIntegrityError",
        "ChunkOptions",
        "ChunkedText",
        "ClosedError",
        "DependencyMissingError",
        "Encoder",
        "EngineMissingError",
        "InvalidTextError",
        "M3EError",
        "OptionError",
        "OverloadedError",
        "Reranker",
        "TextTooLongError",
        "quantize_embeddings",
    ],
    "m3e_corpora": ["CorpusRequest", "Summary", "encode_corpus"],
    "m3e_serve": [],
    "m3e_export": [
        "BelowGateError",
        "CheckpointAccessError",
        "CheckpointError",
        "CheckpointNotFoundError",
        "DependencyMissingError",
        "ExportRequest",
        "HubUnreachableError",
        "UnsupportedModelError",
        "UntrustedCheckpointError",
        "export",
    ],
    "m3e_eval": [],
}


@pytest.mark.parametrize("name", SURFACE)
def test_the_public_names_are_these(name):
    package = importlib.import_module(name)
    assert list(getattr(package, "__all__", [])) == SURFACE[name]


@pytest.mark.parametrize("name", SURFACE)
def test_every_public_name_can_be_had_and_is_described(name):
    package = importlib.import_module(name)
    for member in SURFACE[name]:
        assert getattr(package, member).__doc__, member


@pytest.mark.parametrize("name", [name for name in SURFACE if SURFACE[name]])
def test_nothing_else_is_in_reach_of_a_fresh_import(name):
    """Names that a package's ``__init__`` needs for itself are private, or modules."""
    script = (
        f"import types, {name} as package\n"
        "public = {key for key, value in vars(package).items() if not key.startswith('_')"
        " and not isinstance(value, types.ModuleType)}\n"
        "print(*sorted(public - set(package.__all__)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(said.stdout.split()) <= {"Any", "TYPE_CHECKING", "import_module", "extra_packages"}


def test_the_version_is_the_same_everywhere():
    root = Path(__file__).resolve().parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    cmake = re.search(r"project\(m3e_runtime VERSION ([\d.]+)", (root / "CMakeLists.txt").read_text())
    assert project == cmake.group(1) == importlib.import_module("m3e_runtime").__version__
