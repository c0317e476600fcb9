"""The rooms of m3e_corpora import only downwards, and nothing else imports them."""

import ast
from pathlib import Path

import pytest

import m3e_corpora
import m3e_eval
import m3e_export
import m3e_runtime
import m3e_serve

ROOMS = ["cli", "run", "executors", "encoding", "job", "outputs", "inputs"]  # from top to bottom
LEAVES = ["arrow", "faiss_package"]
FOLDER = Path(m3e_corpora.__file__).parent


def imports_of(file):
    """All modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield node.module


def room_of(module):
    """The room of ``m3e_corpora.inputs.find``: ``inputs``."""
    return module.split(".")[1] if "." in module else "the package itself"


def rooms_of(folder):
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).with_suffix("").parts[0]
        rooms = {room_of(each) for each in imports_of(file) if each.split(".")[0] == "m3e_corpora"}
        yield file, name, rooms - {name}


def below(room):
    return set() if room in LEAVES else {*ROOMS[ROOMS.index(room) + 1 :], *LEAVES}


def test_every_file_is_in_a_room():
    names = {name for _, name, _ in rooms_of(FOLDER)}
    assert names == {"__init__", *ROOMS, *LEAVES}


@pytest.mark.parametrize(
    "file",
    [file for file, name, _ in rooms_of(FOLDER) if name != "__init__"],
    ids=lambda file: file.relative_to(FOLDER).as_posix(),
)
def test_arrows_between_the_rooms_point_down(file):
    ((name, rooms),) = [(name, rooms) for each, name, rooms in rooms_of(FOLDER) if each == file]
    assert rooms <= below(name)


def test_the_command_knows_only_requests_and_runs():
    ((_, _, rooms),) = [each for each in rooms_of(FOLDER) if each[1] == "cli"]
    assert rooms == {"run", "executors", "job"}


def test_corpora_import_only_the_runtime():
    ours = {"m3e_corpora", "m3e_eval", "m3e_export", "m3e_runtime", "m3e_serve"}
    found = {module.split(".")[0] for file in FOLDER.rglob("*.py") for module in imports_of(file)}
    assert found & ours == {"m3e_corpora", "m3e_runtime"}


@pytest.mark.parametrize("package", [m3e_eval, m3e_export, m3e_runtime, m3e_serve])
def test_no_other_package_imports_corpora(package):
    for file in Path(package.__file__).parent.rglob("*.py"):
        assert not [module for module in imports_of(file) if module.split(".")[0] == "m3e_corpora"], file
