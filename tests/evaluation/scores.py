"""An evaluation put together by hand, so that what is made of it can be tested without mteb."""

from __future__ import annotations

from pathlib import Path

from m3e_export.evaluation import published
from m3e_export.evaluation.evaluate import Contestant, Evaluation, NotRun, Row
from m3e_export.evaluation.golden import Check
from m3e_runtime.bundle import Bundle

__all__ = ["made_up"]


def made_up(bundle: Path, reason: str = "no JDIphone there", failing: bool = True) -> Evaluation:
    """Three contestants, two suites, one task that was not run, golden checks of every status."""

    def row(suite: str, task: str, kind: str, metric: str, scores: tuple[float, ...], data: str = "") -> Row:
        names = ("pytorch", "fp32-cpu", "int8-native")
        known = published.M3E.scores(task, metric) if suite == "m3e" else {}
        return Row(suite, task, kind, metric, "test", data, dict(zip(names, scores, strict=False)), known)

    status = "failed" if failing else "passed"
    return Evaluation(
        bundle=Bundle.open(bundle),
        mteb="2.1.0",
        contestants=(
            Contestant("pytorch", "reference", "fp32", "sentence-transformers 6.2.0", 61.2),
            Contestant("fp32-cpu", "artifact", "fp32", "onnxruntime-cpu 1.32.0", 30.5),
            Contestant("int8-native", "artifact", "int8", "native 0.1.0", 9.8),
        ),
        baseline="pytorch",
        rows=(
            row("m3e", "TNews", "Classification", "accuracy", (0.4826, 0.4826, 0.4811)),
            row("m3e", "T2RRetrieval", "Retrieval", "ndcg_at_10", (0.8004, 0.8004, 0.7968), "a copy of T2"),
            row("m3e", "IFlyTek", "Classification", "accuracy", (0.4432, 0.4433)),
            row("pairs.csv", "pairs", "PairClassification", "cosine_ap", (0.9713, 0.9713, 0.9722)),
        ),
        not_run=(NotRun("m3e", "JDIphone", None, reason), NotRun("m3e", "IFlyTek", "int8-native", "failed")),
        checks=(
            Check("m3e: TNews accuracy", "m3e-base", "fp32-cpu", 0.4827, "passed", 0.4826, 0.01),
            Check("m3e: average accuracy", "ada-002", None, 0.5956, "not run", reason="a closed model"),
            Check("cosine 花呗 ↔ 银行卡", "m3e-base", "int8-native", 0.85, status, 0.79, 0.02),
        ),
        tables={"m3e": published.M3E},
    )
