"""What the steps of a day left behind, from any number of folders: the newest full results of each shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

__all__ = ["PROFILE", "TESTS", "Evidence", "Suite", "gather"]

PROFILE, TESTS = "profile.json", "tests.xml"
_RESULTS = "gpu-*.json"

_GPU_TESTS = "test_onnx_cuda"
"""The module whose tests need the GPU and ONNX Runtime; the others' simulations pass anywhere."""


@dataclass(frozen=True)
class Suite:
    """Results of ``pytest tests/gpu``; ``on_gpu`` are the tests that passed on the GPU itself."""

    tests: int
    failed: tuple[str, ...]
    on_gpu: int


@dataclass
class Evidence:
    """Results by shape, the profile and the tests; None or empty where a step has not run."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: str = ""
    automatic: str = ""
    profile: dict[str, Any] | None = None
    suite: Suite | None = None
    rehearsal: bool = False
    sources: list[str] = field(default_factory=list)

    def median(self, shape: str, contestant: str, workload: str) -> float | None:
        """Seconds of a workload, if they were measured."""
        found = self.found(shape).get(contestant, {})
        seconds: float | None = found.get("workloads", {}).get(workload, {}).get("median_s")
        return seconds

    def found(self, shape: str) -> dict[str, dict[str, Any]]:
        """What was found of each contestant."""
        contestants: dict[str, dict[str, Any]] = self.runs.get(shape, {}).get("found", {})
        return contestants


def gather(folders: Sequence[Path]) -> Evidence:
    """Read what lies in ``folders`` and one folder down; of profiles and tests the last ones count."""
    evidence = Evidence()
    standing: dict[str, tuple[bool, bool, str]] = {}
    for folder in folders:
        for file in _files(folder, _RESULTS):
            _take_results(evidence, json.loads(file.read_text(encoding="utf-8")), file, standing)
        for file in _files(folder, PROFILE):
            evidence.profile = json.loads(file.read_text(encoding="utf-8"))
            evidence.rehearsal |= evidence.profile["rehearsal"]
            evidence.sources.append(str(file))
        for file in _files(folder, TESTS):
            evidence.suite = _suite(file)
            evidence.sources.append(str(file))
    return evidence


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])


def _take_results(
    evidence: Evidence, results: dict[str, Any], file: Path, standing: dict[str, tuple[bool, bool, str]]
) -> None:
    """Of two runs of a shape the finished one stands, then the one that is not quick, then the newer."""
    evidence.rehearsal |= results["rehearsal"]
    evidence.baseline, evidence.automatic = results["baseline"], results.get("automatic", "")
    evidence.sources.append(str(file))
    for run in results["runs"]:
        rank = (run.get("finished", True), not results["quick"], results["date"])
        if rank >= standing.get(run["shape"], rank):
            standing[run["shape"]] = rank
            evidence.runs[run["shape"]] = run


def _suite(file: Path) -> Suite:
    cases = ElementTree.parse(file).getroot().iter("testcase")
    failed, tests, on_gpu = [], 0, 0
    for case in cases:
        outcomes = {outcome.tag for outcome in case}
        tests += 1
        if outcomes & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" not in outcomes and _GPU_TESTS in case.get("classname", ""):
            on_gpu += 1
    return Suite(tests, tuple(failed), on_gpu)
