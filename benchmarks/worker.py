"""One contestant in a process of its own, told what to do by lines of JSON on stdin.

``python -m benchmarks.worker CONTESTANT MODEL THREADS`` answers each line with a line of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Load, then serve requests until stdin closes."""
    name, model, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(
        os.dup(1), "w"
    )  # libraries print to stdout: keep a private copy, send theirs to stderr
    os.dup2(2, 1)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from benchmarks.contestants import load

    contestant = load(name)(model, threads)
    contestant.encode(["一二三"])
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        _answer(answers, _serve(contestant, request))


def _serve(contestant: Any, request: dict[str, Any]) -> dict[str, Any]:
    texts = request["texts"]
    if request["do"] == "time":
        seconds = []
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            contestant.encode(texts)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}
    if request["do"] == "vectors":
        import numpy as np

        np.save(request["file"], contestant.encode(texts))
        return {}
    return {"details": contestant.details(texts), "peak_memory": _peak_memory()}


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _answer(stream: Any, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
