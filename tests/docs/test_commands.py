"""The commands in README and docs/.

What is checked of the fenced blocks:

- A block of ``bash`` runs in a folder with a small checkpoint and a small bundle, unless a mark before it
  names what a test run does not have: ``<!-- needs: a GPU -->``. So do blocks of ``python``.
- The argparse parser of each command of ours takes its arguments, also in blocks that do not run.
- Other programs are known here, extras are those of pyproject.toml, and paths that pytest is given exist.

Options in sentences must be options of some command. What commands print is not compared with anything: the
tests of the packages do that.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator

import pytest

from commands import COMMANDS
from m3e_runtime.backends import native
from pages import PAGES, README_ZH, ROOT, Block, blocks_of, inline_code
from without_torch import WITHOUT_TORCH

NEEDS = re.compile(
    r"(a GPU|a hub|a cluster|an installation|minutes|a build of minutes|a checkpoint of that family"
    r"|the extra (?P<extra>[\w-]+)|the package [\w-]+)"
)
OTHER_PROGRAMS = {"cat", "cc", "cmake", "curl", "head", "ln", "m3e", "mv"}
OTHER_OPTIONS = {
    "--inplace",
    "--http2",
    "--force-reinstall",
    "--no-deps",
    "--no-cache-dir",
    "--write-matrices",
    "--help",
}
OPERATORS = set("();|&")

EVERY_BLOCK = [block for page in PAGES for block in blocks_of(page)]
BASH = [block for block in EVERY_BLOCK if block.language == "bash"]
RUNNABLE = [
    page
    for page in PAGES
    if page != README_ZH  # has the blocks of README: see test_pages.py
    and any(block.needs is None and block.language in ("bash", "python") for block in blocks_of(page))
]


@functools.cache
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@functools.cache
def parser_of(command):
    """What the command's own main() gives to ``run``."""
    module = importlib.import_module(COMMANDS[command])
    taken = []
    real, module.run = module.run, lambda _, parser, argv: taken.append(parser) or 0
    try:
        module.main([])
    finally:
        module.run = real
    return taken[0]


def commands_in(block: Block) -> Iterator[list[str]]:
    """Simple commands, without what is assigned before them."""
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= OPERATORS:
                words.append(word)
                continue
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []


def check(words):
    program, *arguments = words
    if program in COMMANDS:
        parser_of(program).parse_args(arguments)
    elif program == "python":
        check_python(arguments)
    else:
        assert program in OTHER_PROGRAMS or "/" in program, f"{program} is not known to this test"


def check_python(arguments):
    if arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
        return
    assert arguments[0] == "-m", arguments
    module, *rest = arguments[1:]
    if module == "pip":
        for extras in re.findall(r"(?:^\.|m3e-runtime)\[([\w,-]+)\]", " ".join(rest)):
            assert set(extras.split(",")) <= set(project()["optional-dependencies"]), extras
    elif module == "pytest":
        assert all((ROOT / word).exists() for word in rest if "/" in word), rest
    else:
        file = ROOT / (module.replace(".", "/") + ".py")
        file = file if file.exists() else file.with_suffix("") / "__main__.py"
        assert module.startswith("benchmarks.")
        assert {word for word in rest if word.startswith("--")} <= options_of_benchmarks()


@functools.cache
def options_of_benchmarks():
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "benchmarks").rglob("*.py"))
    return set(re.findall(r'"(--[a-z][\w-]*)"', source))


def test_marks_are_understood():
    for block in EVERY_BLOCK:
        if block.needs is not None:
            found = NEEDS.fullmatch(block.needs)
            assert found, f"{block}: {block.needs}"
            assert not found["extra"] or found["extra"] in project()["optional-dependencies"], block


@pytest.mark.parametrize("block", BASH, ids=str)
def test_parsers_take_the_commands(block, capsys):
    for words in commands_in(block):
        try:
            check(words)
        except SystemExit:
            pytest.fail(f"{block}: {shlex.join(words)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_sentences_are_options_of_a_command(page):
    known = {
        name
        for command in COMMANDS
        for action in parser_of(command)._actions
        for name in action.option_strings
    }
    named = {option for code in inline_code(page) for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", code)}
    assert named - known - options_of_benchmarks() - OTHER_OPTIONS == set()


@pytest.mark.parametrize("block", [_ for _ in EVERY_BLOCK if _.language == "python"], ids=str)
def test_python_compiles(block):
    compile(block.code, str(block), "exec")


@pytest.fixture
def place(tmp_path, tiny_checkpoint, tiny_bundle):
    """The folder in which a reader of the pages is: a checkpoint, a bundle, and texts."""
    folder = tmp_path / "place"
    shutil.copytree(tiny_checkpoint, folder / "my-finetune")
    shutil.copytree(tiny_bundle, folder / "m3e-base-int8")
    rows = [f'{{"id": {number}, "text": "句子 {number}", "body": "text {number}"}}\n' for number in range(40)]
    (folder / "corpus").mkdir()
    (folder / "bundles").mkdir()
    for name in ("corpus/a.jsonl", "corpus/b.jsonl", "corpus.jsonl", "mine.jsonl", "heldout.jsonl"):
        (folder / name).write_text("".join(rows), encoding="utf-8")
    for name in ("questions.txt", "corpus.txt"):
        (folder / name).write_text("如何更换花呗绑定银行卡\nhow do I change my card\n", encoding="utf-8")
    (folder / "keys.txt").write_text("secret\n", encoding="utf-8")
    shutil.copy(ROOT / "examples" / "c" / "embed.c", folder)
    return folder


@pytest.fixture
def shell(place, tmp_path):
    """Runs a block in the folder. ``m3e-serve`` goes on beside what follows, until the test ends."""
    programs = tmp_path / "bin"
    programs.mkdir()
    port = free_port()
    for name, module in COMMANDS.items():
        # The commands need no torch. Importing it, to be judged by PyTorch, would take most of the time.
        main = f"{WITHOUT_TORCH}from {module} import main; raise SystemExit(main())"
        run = f'exec {shlex.quote(sys.executable)} -c {shlex.quote(main)} "$@"'
        if name == "m3e-serve":
            run = serving(run, port, tmp_path)
        write_program(programs / name, run)
    write_program(programs / "python", f'exec {shlex.quote(sys.executable)} "$@"')
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "KEY": "secret",
        "PYTHONUTF8": "1",
    }

    def run_block(*command, code):
        code = code.replace("localhost:8000", f"127.0.0.1:{port}")
        done = subprocess.run(
            [*command, code],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"

    yield run_block
    for file in tmp_path.glob("*.pid"):
        subprocess.run(["kill", file.read_text().strip()], check=False)


def serving(run, port, folder):
    """In place of ``m3e-serve``: start it and come back when it is ready."""
    return textwrap.dedent(f"""\
        ({run} --port {port}) > {folder}/service.log 2>&1 &
        echo $! > {folder}/$$.pid
        for _ in $(seq 300); do
          curl -sf 127.0.0.1:{port}/readyz > /dev/null && exit 0
          kill -0 $! || break
          sleep 0.1
        done
        cat {folder}/service.log; exit 1
    """)


def write_program(path, content):
    path.write_text(f"#!/usr/bin/env bash\n{content}\n", encoding="utf-8")
    path.chmod(0o755)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, shell):
    blocks = [block for block in blocks_of(page) if block.needs is None]
    skip_where_programs_are_missing(blocks)
    for block in blocks:
        if block.language == "bash":
            shell("bash", "-euo", "pipefail", "-c", code=block.code)
    python = "".join(block.code for block in blocks if block.language == "python")
    if python:
        shell("python", "-c", code=python)


def skip_where_programs_are_missing(blocks):
    code = "".join(block.code for block in blocks)
    if "c_interface_folder" in code and native.missing():
        pytest.skip(str(native.missing()))
    for word, program in (("cc ", "cc"), ("m3e-serve", "curl")):
        if word in code and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
