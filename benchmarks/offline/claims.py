"""The claims about GPUs, in one table, and how each is judged by what was measured.

Claims are the project's; aims are what it would like to reach; questions have an answer, but no right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.offline.evidence import Evidence
from benchmarks.offline.names import BASE, OURS

__all__ = ["CLAIMS", "Claim", "Finding"]

QUERY, CORPUS = "12 tokens", "corpus"
UNPADDED = ("torch-fp16-unpadded", "torch-fp16-unpadded-compiled")

MEAN_COSINE, LEAST_COSINE = 0.9999, 0.9995
QUERY_SHARE, QUERY_SECONDS, QUERY_AIM = 0.5, 1e-3, 0.35e-3
CORPUS_RATIO, UNPADDED_RATIO, CEILING_AIM = 1.5, 1.0, 0.6
NOISE = 0.03
"""Two medians that differ by less say nothing about which is faster."""


@dataclass(frozen=True)
class Finding:
    """Whether it holds, None if that was not measured, and the figure or the reason."""

    holds: bool | None
    figure: str


@dataclass(frozen=True)
class Claim:
    """A claim, an aim or a question in words, and its judge."""

    words: str
    kind: Literal["claim", "aim", "question"]
    judge: Callable[[Evidence], Finding]


def _cosine(which: str, least: float) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        cosines = {
            f"{shape} {name}": found[which]
            for shape in evidence.runs
            for name, found in _measured(evidence, shape)
            if which in found
        }
        if not cosines:
            return Finding(None, _why_not(evidence))
        figure = ", ".join(f"{name} {cosine:.6f}" for name, cosine in cosines.items())
        return Finding(min(cosines.values()) >= least, figure)

    return judge


def _ratio(
    workload: str, peers: Callable[[Evidence], Iterable[str]], least: float
) -> Callable[[Evidence], Finding]:
    """Our fastest against the fastest of ``peers``: at least ``least`` times as fast."""

    def judge(evidence: Evidence) -> Finding:
        own, peer = _fastest(evidence, OURS, workload), _fastest(evidence, peers(evidence), workload)
        if own is None or peer is None:
            return Finding(None, _why_not(evidence) if own is None else "no peer was measured")
        (name, seconds), (other, theirs) = own, peer
        figure = f"{theirs / seconds:.2f} times as fast: {name} {_ms(seconds)}, {other} {_ms(theirs)}"
        return Finding(theirs / seconds >= least, figure)

    return judge


def _seconds(workload: str, most: float) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        own = _fastest(evidence, OURS, workload)
        if own is None:
            return Finding(None, _why_not(evidence))
        return Finding(own[1] <= most, f"{own[0]} {_ms(own[1])}")

    return judge


def _ceiling(evidence: Evidence) -> Finding:
    own = _fastest(evidence, OURS, CORPUS)
    if own is None:
        return Finding(None, _why_not(evidence))
    share = evidence.found(BASE)[own[0]]["workloads"][CORPUS].get("ceiling_share")
    if share is None:
        return Finding(None, "the ceiling was not measured")
    return Finding(share >= CEILING_AIM, f"{own[0]} {share:.0%}")


def _tests(evidence: Evidence) -> Finding:
    suite = evidence.suite
    if suite is None:
        return Finding(None, "tests/gpu has not run")
    if suite.failed:
        return Finding(False, f"{len(suite.failed)} of {suite.tests} fail: {', '.join(suite.failed[:5])}")
    if not suite.on_gpu:
        return Finding(None, f"{suite.tests} tests, of which none ran on the GPU")
    return Finding(True, f"{suite.tests} tests, of which {suite.on_gpu} ran on the GPU")


def _recorded(evidence: Evidence) -> Finding:
    """By the profile; a replay is one launch of a graph, and nothing is launched beside it."""
    profiled = {name: each["query"] for name, each in _profiled(evidence) if name in OURS}
    if not profiled:
        return _recorded_by_own_count(evidence)
    figure = ", ".join(
        f"{name} {each['graph_launches']:g} graphs and {each['kernel_launches']:g} kernels launched a query"
        for name, each in profiled.items()
    )
    seen = ("kernels", "graph_launches", "kernel_launches")
    if not any(each[what] for each in profiled.values() for what in seen):
        return Finding(None, "the profiler saw nothing of the GPU")
    holds = all(each["graph_launches"] >= 1 and each["kernel_launches"] < 1 for each in profiled.values())
    return Finding(holds, figure)


def _recorded_by_own_count(evidence: Evidence) -> Finding:
    counted = {
        name: found["details"]["recordings"]
        for name, found in _measured(evidence, BASE)
        if found.get("details", {}).get("recordings") is not None
    }
    if not counted:
        return Finding(None, "no profile")
    figure = ", ".join(
        f"{name} {count} sizes by its own count, no profile" for name, count in counted.items()
    )
    return Finding(all(counted.values()), figure)


def _automatic(evidence: Evidence) -> Finding:
    if len(dict(_measured(evidence, BASE))) < len(OURS):
        return Finding(None, "not both of our graphs were measured")
    slower = []
    for workload in (QUERY, CORPUS):
        times = {name: evidence.median(BASE, name, workload) for name in OURS}
        own, best = times.get(evidence.automatic), min((t for t in times.values() if t), default=None)
        if own is None or best is None:
            return Finding(None, "not both of our graphs were measured")
        slower += [f"{workload} {own / best:.2f} times the best"] if own > best * (1 + NOISE) else []
    return Finding(not slower, f"it takes {evidence.automatic}: {', '.join(slower) or 'nothing is faster'}")


def _packed(evidence: Evidence) -> Finding:
    ratios = []
    for shape in evidence.runs:
        for workload in (QUERY, CORPUS):
            padded, packed = (evidence.median(shape, name, workload) for name in OURS)
            if padded and packed:
                ratios.append(f"{shape} {workload} {padded / packed:.2f}")
    return Finding(
        None, f"packed is as fast as padded, times: {', '.join(ratios)}" if ratios else "not measured"
    )


def _where(workload: str) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        told = [
            f"{name}: {_ms(traced['seconds'])}, GPU busy {traced['gpu_s'] / traced['seconds']:.0%} "
            f"({_top(traced['top'])})"
            for name, traced in ((name, each[workload]) for name, each in _profiled(evidence))
            if traced["top"]
        ]
        return Finding(None, "; ".join(told) or "no profile")

    return judge


def _top(kernels: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['share']:.0%} {each['name'][:48]}" for each in kernels[:4])


def _measured(evidence: Evidence, shape: str) -> list[tuple[str, dict[str, Any]]]:
    """Ours that ran."""
    return [
        (name, found)
        for name, found in evidence.found(shape).items()
        if name in OURS and "workloads" in found
    ]


def _profiled(evidence: Evidence) -> list[tuple[str, dict[str, Any]]]:
    contestants = (evidence.profile or {}).get("contestants", {})
    return [(name, each) for name, each in contestants.items() if "query" in each]


def _fastest(evidence: Evidence, names: Iterable[str], workload: str) -> tuple[str, float] | None:
    """Of the contestants whose vectors are right."""
    times = {
        name: seconds
        for name in names
        if (seconds := evidence.median(BASE, name, workload)) is not None and _is_right(evidence, name)
    }
    return min(times.items(), key=lambda each: each[1]) if times else None


def _is_right(evidence: Evidence, name: str) -> bool:
    return bool(evidence.found(BASE)[name].get("min_cosine", 1.0) >= LEAST_COSINE)


def _why_not(evidence: Evidence) -> str:
    if BASE not in evidence.runs:
        return f"no results of {BASE}"
    found = evidence.found(BASE)
    reasons = {found[name]["not_measured"] for name in OURS if "not_measured" in found.get(name, {})}
    return "; ".join(sorted(reasons)) or "ours was not measured, or its vectors are wrong"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


CLAIMS = (
    Claim(f"fp16: mean cosine at least {MEAN_COSINE}", "claim", _cosine("mean_cosine", MEAN_COSINE)),
    Claim(f"fp16: worst cosine at least {LEAST_COSINE}", "claim", _cosine("min_cosine", LEAST_COSINE)),
    Claim("tests/gpu pass", "claim", _tests),
    Claim(
        f"{BASE}, one query takes at most half of PyTorch fp16",
        "claim",
        _ratio(QUERY, lambda evidence: [evidence.baseline], 1 / QUERY_SHARE),
    ),
    Claim(f"{BASE}, one query takes at most 1 ms", "claim", _seconds(QUERY, QUERY_SECONDS)),
    Claim(
        f"{BASE}, corpus: at least {CORPUS_RATIO} times as fast as padded PyTorch fp16",
        "claim",
        _ratio(CORPUS, lambda evidence: [evidence.baseline], CORPUS_RATIO),
    ),
    Claim(
        f"{BASE}, corpus: not behind PyTorch fp16 without padding",
        "claim",
        _ratio(CORPUS, lambda evidence: UNPADDED, UNPADDED_RATIO),
    ),
    Claim("small sizes run as recorded CUDA graphs", "claim", _recorded),
    Claim('device="auto" takes the fastest graph', "claim", _automatic),
    Claim(f"{BASE}, one query takes at most 0.35 ms", "aim", _seconds(QUERY, QUERY_AIM)),
    Claim(f"{BASE}, corpus: {CEILING_AIM:.0%} of the matrix ceiling", "aim", _ceiling),
    Claim("do packed operators win?", "question", _packed),
    Claim("where does the time of a query go?", "question", _where("query")),
    Claim("where does the time of a batch go?", "question", _where("batch")),
)
