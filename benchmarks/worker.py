"""One contestant in a process of its own, told what to do by lines of JSON on stdin.

``python -m benchmarks.worker CONTESTANT MODEL DEVICE THREADS`` answers each line with a line of JSON on
stdout; ``--prepare CONTESTANT CHECKPOINT FOLDER`` converts a checkpoint and prints what is loaded later.
The last line on stderr is the reason where there is no answer.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Load, then serve requests until stdin closes."""
    # Libraries print to stdout: keep a private copy, send theirs to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        _prepare(answers) if sys.argv[1] == "--prepare" else _work(answers)
    except Exception as error:
        traceback.print_exc()
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        print(f"{type(error).__name__}: {said[0] if said else 'no message'}", file=sys.stderr)
        sys.exit(1)


def _prepare(answers: Any) -> None:
    name, checkpoint, folder = sys.argv[2:]
    from benchmarks.contestants import load

    print(load(name).prepare(Path(checkpoint), Path(folder)), file=answers, flush=True)


def _work(answers: Any) -> None:
    name, model, device, threads = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = threads
    from benchmarks.contestants import Place, load

    contestant = load(name)(Path(model), Place(device, int(threads)))
    contestant.encode(["一二三"])
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _answer(answers, _serve(contestant, json.loads(line)))


def _serve(contestant: Any, request: dict[str, Any]) -> dict[str, Any]:
    texts = request["texts"]
    if request["do"] == "time":
        return {"seconds": _time(contestant, texts, request["repeats"])}
    if request["do"] == "tune":
        contestant.tune(texts)
        return {}
    if request["do"] == "vectors":
        import numpy as np

        np.save(request["file"], contestant.encode(texts))
        return {}
    return {"details": contestant.details(texts), "peak_memory": _peak_memory()}


def _time(contestant: Any, texts: list[str], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        contestant.encode(texts)
        seconds.append(time.perf_counter() - start)
    return seconds


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
