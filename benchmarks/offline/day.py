"""``python -m benchmarks.offline.day STEP...``: what is done on the machine with the GPU, a step at a time.

Several steps make one command. Those that others stand on end it when they fail; the others do not. All steps
share a time limit, and a step that passes it is ended: the benchmark has written what it had by then.
``plan`` prints all commands of a day. ``--device cpu`` rehearses.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.offline.errors import OfflineError
from benchmarks.offline.evidence import PROFILE, TESTS
from benchmarks.offline.join import find_packs, join
from benchmarks.offline.names import BASE, OURS, SMALL
from benchmarks.offline.plan import commands

__all__ = ["STEPS", "Day", "Step", "environment"]

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("sentence-transformers-fp32", "sentence-transformers-fp16", "torch-fp16-unpadded")
MORE = ("sentence-transformers-bf16",)
COMPILED = ("sentence-transformers-fp16-compiled", "torch-fp16-unpadded-compiled")
_REHEARSAL = "rehearsal"  # the tiny shape
_BY_TIME = 124  # as the program `timeout` has it
_GRACE = 15  # seconds that a step has even if the time is over: the verdict needs one
_NCU = [
    "--clock-control",
    "none",
    "--target-processes",
    "all",
    "--kernel-name",
    "regex:(?i)(attention|fmha|flash)",
    "--launch-count",
    "3",
    "--section",
    "SpeedOfLight",
    "--section",
    "Occupancy",
]


def main() -> None:
    """Entry point."""
    options = _options()
    if options.steps == ["plan"]:
        _print_plan(options.packs)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    day = Day(options)
    failed = []
    for name in options.steps:
        code = day.run(name)
        failed += [name] if code else []
        if code and STEPS[name].vital:
            break
    if failed:
        print(f"failed: {', '.join(failed)}")
    sys.exit(1 if failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.offline.day",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:<14} {step.words}" for name, step in STEPS.items()),
    )
    parser.add_argument("steps", nargs="+", choices=["plan", *STEPS], metavar="STEP")
    parser.add_argument("--packs", type=Path, default=Path(".offline"), help="folder of the packs")
    parser.add_argument("--output", type=Path, default=Path("offline-results"), help="folder of the results")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "m3e-offline",
                        help="folder that stays from command to command")  # fmt: skip
    parser.add_argument("--shape", help="for `prepare`, `quick`, `full` and `profile` (m3e-base)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    parser.add_argument("--seconds", type=float, default=570, help="limit of all steps together")
    options = parser.parse_args()
    options.shape = options.shape or (_REHEARSAL if options.device == "cpu" else BASE)
    return options


def _print_plan(packs: Path) -> None:
    for number, command in enumerate(commands(packs), 1):
        copies = " ".join(map(str, command.copies)) or "nothing"
        print(f"{number}. copy {copies}\n   {command.line}")


class Day:
    """The folders of a day, and its clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.site: Path = options.work / "site"
        self.models: Path = options.work / "models"
        self._end = time.monotonic() + options.seconds
        self._log = options.output / "day.log"
        self.site.mkdir(parents=True, exist_ok=True)

    def run(self, name: str) -> int:
        """Run a step; its exit code."""
        self.say(f"== {name}: {STEPS[name].words}")
        began = time.monotonic()
        try:
            code = STEPS[name].run(self)
        except (OfflineError, OSError) as error:
            self.say(f"error: {error}")
            code = getattr(error, "exit_code", 1)
        self.say(f"== {name} took {time.monotonic() - began:.1f} s, exit code {code}")
        return code

    def say(self, line: str) -> None:
        """Print a line, and keep it in the log."""
        print(line, flush=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def module(self, name: str, *arguments: object, under: Sequence[str] = ()) -> int:
        """Run a module in the environment of the day, with the time that is left."""
        return self.execute([*under, sys.executable, "-m", name, *map(str, arguments)])

    def execute(self, command: Sequence[str]) -> int:
        """Run a command and everything it starts, until it ends or the time is over."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(self.site),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(_GRACE, self._end - time.monotonic()), stop)
        timer.start()
        try:
            for line in process.stdout or ():
                self.say(line.rstrip("\n"))
            code = process.wait()
        finally:
            timer.cancel()
        if late.is_set():
            self.say("ended: the time is over")
            return _BY_TIME
        return code


def environment(target: Path) -> dict[str, str]:
    """Variables for the joined packages: first on the path, and with the CUDA libraries of NVIDIA's packages.

    ONNX Runtime looks for these beside itself, where they are not.
    """
    paths = [str(target), str(ROOT / "export"), str(ROOT / "runtime"), os.environ.get("PYTHONPATH", "")]
    libraries = [*_cuda_libraries(), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "LD_LIBRARY_PATH": os.pathsep.join(path for path in libraries if path),
        "PYTHONUNBUFFERED": "1",
        "TQDM_MININTERVAL": "15",  # the end of the output is what comes back
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(target.parent / "inductor"),
    }


def _cuda_libraries() -> list[str]:
    """Folders of CUDA's and cuDNN's libraries in this environment."""
    folders = [Path(folder) / "nvidia" for folder in site.getsitepackages()]
    return [
        str(found)
        for folder in folders
        for pattern in ("cu[0-9]*/lib", "cudnn/lib")
        for found in sorted(folder.glob(pattern))
    ]


def _surroundings(day: Day) -> int:
    code = day.module("benchmarks.offline.surroundings")
    return 0 if day.options.device == "cpu" else code


def _join(day: Day) -> int:
    for folder in find_packs(day.options.packs):
        day.say(str(join(folder, day.site)))
    return 0


def _install(day: Day) -> int:
    """Into the target, with the engine; without it the sources of the checkout do."""
    options = (
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--no-compile",
        "--upgrade",
        "-q",
        "--target",
        day.site,
    )
    return day.module("pip", "install", *options, ROOT)


def _begin_prepare(day: Day) -> int:
    """In a session of its own, so that it goes on while the other parts are copied."""
    with (day.options.work / "prepare.log").open("w", encoding="utf-8") as log:
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu", *map(str, _preparation(day))],
            cwd=ROOT,
            env=environment(day.site),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return 0


def _preparation(day: Day) -> list[object]:
    """First the shape of the first vectors, which is the smaller one."""
    shapes = dict.fromkeys((SMALL if day.options.device == "cuda" else _REHEARSAL, day.options.shape))
    return ["--only-prepare", "--models", day.models, "--shapes", *shapes, "--contestants", *OURS]


def _prepare(day: Day) -> int:
    return day.module("benchmarks.gpu", *_preparation(day))


def _first(day: Day) -> int:
    options = (
        "--models",
        day.models,
        "--output",
        day.options.output / "first.json",
        "--device",
        day.options.device,
    )
    return day.module("benchmarks.offline.first_vector", *options)


def _tests(day: Day) -> int:
    options = ("-q", "-rs", "-p", "no:cacheprovider", f"--junitxml={day.options.output.resolve() / TESTS}")
    return day.module("pytest", "tests/gpu", *options)


def _benchmark(day: Day, contestants: Sequence[str], *more: str) -> int:
    options = day.options
    where = ("--device", options.device, "--shapes", options.shape, "--output", options.output.resolve())
    return day.module("benchmarks.gpu", *more, *where, "--models", day.models, "--contestants", *contestants)


def _quick(day: Day) -> int:
    return _benchmark(day, (*OURS, *PEERS), "--quick")


def _full(day: Day) -> int:
    return _benchmark(day, (*OURS, *PEERS, *MORE))


def _compiled(day: Day) -> int:
    """By itself: compiling can take longer than a command may."""
    return _benchmark(day, (*OURS, *PEERS, *COMPILED))


def _profile(day: Day) -> int:
    options = ("--shape", day.options.shape, "--device", day.options.device, "--models", day.models)
    return day.module(
        "benchmarks.offline.profiling", *options, "--output", day.options.output.resolve() / PROFILE
    )


def _ncu(day: Day) -> int:
    if shutil.which("ncu") is None:
        day.say("ncu is not installed: skipped")
        return 0
    options = ("--bare", "--shape", day.options.shape, "--device", day.options.device, "--models", day.models)
    return day.module(
        "benchmarks.offline.profiling", *options, "--contestants", OURS[1], under=("ncu", *_NCU)
    )


def _verdict(day: Day) -> int:
    output = day.options.output
    return day.module(
        "benchmarks.offline.verdict", output.resolve(), "--output", output.resolve() / "verdict.txt"
    )


@dataclass(frozen=True)
class Step:
    """What a step does; if it is vital and fails, the rest of the command makes no sense."""

    words: str
    run: Callable[[Day], int]
    vital: bool = False


STEPS = {
    "surroundings": Step("GPU, driver, versions and programs", _surroundings),
    "join": Step("the parts that have come, into the target", _join, vital=True),
    "install": Step("this package with its engine, built here", _install),
    "begin-prepare": Step("start exporting our bundles and do not wait", _begin_prepare),
    "prepare": Step("export our bundles, or wait until they are", _prepare),
    "first": Step("load the CUDA provider; cosines of the first texts", _first, vital=True),
    "tests": Step("tests/gpu", _tests),
    "quick": Step("the benchmark, rough", _quick),
    "full": Step("the benchmark, without compiled peers", _full),
    "compiled": Step("the benchmark with compiled peers", _compiled),
    "profile": Step("launches, recordings and kernels of a query and a batch", _profile),
    "ncu": Step("the attention kernel in Nsight Compute", _ncu),
    "verdict": Step("which claims hold", _verdict),
}


if __name__ == "__main__":
    main()
