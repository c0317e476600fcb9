"""Programs that are run, with what they print in a log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_build.failure import Failure

_SHOWN = 30  # lines of a log


def run(command: Sequence[str | Path], log: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run ``command``, append what it prints to ``log``, and return it.

    Raises:
        Failure: the program cannot be started, or fails. The message shows the end of what it printed.
    """
    words = [os.fspath(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            encoding="utf-8", errors="replace", env={**os.environ, **(variables or {})},
        )  # fmt: skip
    except OSError as error:
        raise Failure(f"cannot run {words[0]}: {error.strerror}") from error
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(words)}\n{done.stdout}\n")
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-_SHOWN:])
        raise Failure(f"{' '.join(words[:4])} ... failed:\n{end}\nAll that it printed is in {log}.")
    return done.stdout
