"""The page of an export: the checkpoint, and each artifact compared with the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m3e_export.errors import BelowGateError
from m3e_export.gate import Comparison, Gate
from m3e_export.record import Candidate, CheckpointFacts, ExportRecord
from m3e_export.report.artifact_card import artifact_card, limits
from m3e_export.report.fidelity_table import fidelity_table
from m3e_export.report.histogram import lowest_decade
from m3e_export.report.latency import RUNS, Latency, processor_name
from m3e_export.report.markup import Markup, element, visible
from m3e_export.report.page import page
from m3e_export.report.pieces import badge, bar, facts, section, table
from m3e_export.report.token_table import token_section
from m3e_export.score_gate import ScoreGate
from m3e_runtime.bundle import Bundle

__all__ = ["export_page"]

_MOST_LABELS = 8
_TERMS = {
    "cosine": "Of a text's two vectors, the original's and the artifact's; 1 is the same direction.",
    "p1": "The cosine that 99 of 100 texts reach.",
    "ten nearest": "The share of the ten nearest neighbours, among the texts of the gate, that stay.",
    "rank corr.": "Spearman's rank correlation of the similarities of all pairs of texts.",
    "≥": "The gate's threshold. An artifact below it is not written.",
}
_SCORE_TERMS = {
    "mean, largest": "Absolute differences of the artifact's logits from the original's.",
    "orders kept": "The share of pairs of passages of one query in the original's order; for several labels, "
    "of texts with the same most likely label. Pairs that the original hardly tells apart do not count.",
    "nDCG@10": "Of the order of each query's passages, with the original's ranks as gains; 1 is its order.",
    "≥, ≤": "The gate's threshold. An artifact beyond it is not written.",
}


def export_page(
    record: ExportRecord,
    bundle: Bundle | None,
    latencies: Sequence[Latency] = (),
    error: BelowGateError | None = None,
) -> str:
    """The report as an HTML document.

    Args:
        record: the record of the export.
        bundle: the bundle; None if an artifact did not pass the gate.
        latencies: the latencies of the artifacts.
        error: the gate's error.
    """
    found = record.by_artifact()
    last = [trials[-1] for trials in found.values()]
    first = lowest_decade(_all_cosines(last))
    return page(
        f"{_name(record)}: export report",
        [
            _header(record, bundle, error),
            section("Checkpoint", _facts(record, bundle)),
            section("Artifacts", fidelity_table(last, bundle), _terms(record)),
            *_tokens(record, last),
            section("Latency", *_latency(latencies)),
            *_cards(record, first),
        ],
    )


def _tokens(record: ExportRecord, last: Sequence[Candidate]) -> list[Markup]:
    """The section about outputs of tokens, if there are any."""
    found = token_section(last, not isinstance(record.gate, Gate) or record.gate.dense)
    return [] if found is None else [found]


def _cards(record: ExportRecord, first: int) -> Iterator[Markup]:
    if record.gate is not None:
        for trials in record.by_artifact().values():
            yield artifact_card(trials, record.gate, first)


def _all_cosines(candidates: Sequence[Candidate]) -> Iterator[float]:
    """The values that the histograms must show: lowest cosines and thresholds."""
    for candidate in candidates:
        if isinstance(candidate.comparison, Comparison):
            yield from (limit for limit, _ in limits(candidate.comparison.fidelity).values())
            yield candidate.comparison.cosines.min()


def _header(record: ExportRecord, bundle: Bundle | None, error: BelowGateError | None) -> Markup:
    state = badge("good", "all artifacts pass the gate")
    if bundle is None:
        state = badge("bad", "below the gate: nothing was written")
    elif record.gate is not None and not record.gate.enforced:
        below = any(trials[-1].problems for trials in record.by_artifact().values())
        state = badge("warn", "written below the gate, which was off" if below else "the gate was off")
    reason = None if error is None else element("p", str(error), class_="reason")
    return element(
        "header",
        element("p", "m3e-export", class_="quiet"),
        element("h1", visible(_name(record))),
        element("p", state),
        reason,
    )


def _name(record: ExportRecord) -> str:
    return record.checkpoint.source if record.checkpoint is not None else record.request.checkpoint


def _facts(record: ExportRecord, bundle: Bundle | None) -> Markup:
    checkpoint, gate = record.checkpoint, record.gate
    if checkpoint is None or gate is None:
        return element("p", "The checkpoint was not read.")
    prompts = ", ".join(checkpoint.prompts) if any(checkpoint.prompts.values()) else "none"
    return facts(
        {
            "checkpoint": visible(record.request.checkpoint),
            "architecture": checkpoint.model_type,
            "dimension": None if checkpoint.labels else _dimension(checkpoint),
            "labels": _labels(checkpoint),
            "pooling": checkpoint.pooling + (", normalized" if checkpoint.normalize else ""),
            "longest input": f"{checkpoint.max_length} tokens",
            "similarity": None if checkpoint.labels else checkpoint.similarity,
            "prompts": visible(prompts if checkpoint.include_prompt else f"{prompts}; not pooled"),
            "licence": visible(checkpoint.licence),
            "weights (SHA-256)": element("code", f"{checkpoint.weights_sha256[:16]}…"),
            "judged against": visible(gate.oracle_name),
            "gate": visible(_gate_words(record.request.gate, gate)),
            "bundle": visible("not written" if bundle is None else str(bundle.path)),
        }
    )


def _labels(checkpoint: CheckpointFacts) -> str | None:
    shown = ", ".join(checkpoint.labels[:_MOST_LABELS])
    more = ", …" if len(checkpoint.labels) > _MOST_LABELS else ""
    return f"{len(checkpoint.labels)}: {visible(shown)}{more}" if checkpoint.labels else None


def _dimension(checkpoint: CheckpointFacts) -> str:
    cut = checkpoint.truncate_dim
    return str(checkpoint.dimension) if cut is None else f"{checkpoint.dimension}, cut to {cut} by default"


def _gate_words(asked: str, gate: Gate | ScoreGate) -> str:
    kind = "pairs" if isinstance(gate, ScoreGate) and gate.passages else "texts"
    origin = f"built-in {kind}" if asked in ("default", "off") else f"{kind} of {asked}"
    return f"{len(gate.texts)} {origin}" + ("" if gate.enforced else ", not enforced")


def _terms(record: ExportRecord) -> Markup:
    terms = _SCORE_TERMS if isinstance(record.gate, ScoreGate) else _TERMS
    pairs = [element("div", element("dt", term), element("dd", words)) for term, words in terms.items()]
    return element(
        "details", element("summary", "What the columns say"), element("dl", *pairs, class_="terms")
    )


def _latency(latencies: Sequence[Latency]) -> list[Markup]:
    if not latencies:
        return [element("p", "Not measured: no bundle was written.", class_="quiet")]
    measured = [each for each in latencies if each.timings]
    largest = max((each.timings[-1].milliseconds for each in measured), default=0.0)
    rows = [
        [each.artifact, each.engine, str(each.threads), *_timing_cells(each), bar(_longest(each), largest)]
        for each in measured
    ]
    heading = ["artifact", "engine", "threads", *_lengths(measured), ""]
    remark = (
        f"A quick look and not a benchmark: the median of {RUNS} runs right after the export, one text at a "
        f"time, tokenizing included, on {processor_name()}, which may have had other work."
    )
    left_out = [
        element("li", f"{each.artifact}: {each.reason}") for each in latencies if each.reason is not None
    ]
    return [
        *([table(heading, rows, words=2)] if rows else []),
        element("p", remark, class_="quiet"),
        *([element("p", "Not run here:"), element("ul", *left_out)] if left_out else []),
    ]


def _lengths(measured: Sequence[Latency]) -> list[str]:
    return [f"{timing.tokens} tokens" for each in measured[:1] for timing in each.timings]


def _timing_cells(latency: Latency) -> list[str]:
    return [f"{timing.milliseconds:.2f} ms" for timing in latency.timings]


def _longest(latency: Latency) -> float:
    return latency.timings[-1].milliseconds
