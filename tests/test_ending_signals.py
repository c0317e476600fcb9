"""Ctrl-C, SIGTERM and SIGHUP: one line, the code that shells expect, and nothing half-written left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import synthetic
from commands import COMMANDS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
SCRIPTS = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["scripts"]

_INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from {module} import {function}
sys.exit({function}())
"""


def heeding(*numbers):
    """A background job has SIGINT ignored, and its children inherit that."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def test_the_commands_are_those_that_are_installed():
    assert set(SCRIPTS) == set(COMMANDS)


@pytest.mark.parametrize("command", SCRIPTS)
def test_ctrl_c_while_a_command_is_imported_ends_it_without_a_traceback(command):
    module, function = SCRIPTS[command].split(":")
    script = _INTERRUPTED_WHILE_IMPORTING.format(module=module, function=function)
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: heeding(signal.SIGINT),
    )
    assert (done.returncode, done.stderr) == (130, f"{command}: interrupted.\n")


@pytest.fixture
def ended(tmp_path):
    """Export until the work folder is there, then send a signal; code, complaint, and what is left."""

    def run(number, ignored=()):
        checkpoint = synthetic.make_checkpoint(tmp_path / "checkpoint", **synthetic.TINY)
        out = tmp_path / "out"
        out.mkdir()
        arguments = [str(checkpoint), "-o", str(out / "bundle"), "--oracle", "numpy"]
        command = [sys.executable, "-m", COMMANDS["m3e-export"], *arguments]

        def prepare():
            heeding(number)
            for each in ignored:
                signal.signal(each, signal.SIG_IGN)

        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=prepare)
        until = time.monotonic() + 60
        while not any(out.iterdir()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
        return process.returncode, complaint, list(out.iterdir())

    return run


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "terminated"),
    ],
)
def test_an_export_that_is_ended_leaves_nothing(ended, number, code, word):
    assert ended(number) == (code, f"m3e-export: {word}; no file was written.\n", [])


def test_nohup_goes_on(ended):
    code, _, left = ended(signal.SIGHUP, ignored=(signal.SIGHUP,))
    assert (code, [file.name for file in left]) == (0, ["bundle"])


def test_handlers_of_a_program_that_calls_a_command_stay(tiny_bundle, capsys):
    from m3e_runtime.cli import main

    def own(*_):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, own)
    try:
        assert main([str(tiny_bundle)]) == 0
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert main([str(tiny_bundle)]) == 0
    assert signal.getsignal(signal.SIGTERM) == before
