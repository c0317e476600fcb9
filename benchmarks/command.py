"""What the benchmark commands share: options, the head of their results, the bundle that they measure."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.checkpoints import REHEARSAL, SHAPES, make_checkpoint
from benchmarks.rerankers import make_bert_reranker
from benchmarks.workers import prepare

__all__ = [
    "RESULTS",
    "make_parser",
    "prepared_bundle",
    "prepared_reranker",
    "results_head",
    "write_results",
]

RESULTS = Path("benchmarks/results")


def make_parser(
    name: str,
    description: str | None,
    *,
    quick: str | None = None,
    shape: str | None = None,
    shapes: Sequence[str] | None = None,
    rehearsal: bool = False,
    output: Path | None = RESULTS,
) -> argparse.ArgumentParser:
    """A parser of ``python -m benchmarks.NAME`` with ``--output`` and, where asked for, what most have.

    Args:
        name: of the module.
        description: its docstring.
        quick: help of ``--quick``; None: there is no such option.
        shape: default of ``--shape``; None: there is no such option.
        shapes: default of ``--shapes``; None: there is no such option.
        rehearsal: whether the shape may be the small one that proves nothing.
        output: default of ``--output``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [*SHAPES, REHEARSAL] if rehearsal else list(SHAPES)
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help=quick)
    if shape is not None:
        parser.add_argument("--shape", choices=known, default=shape)
    if shapes is not None:
        parser.add_argument("--shapes", nargs="+", choices=known, default=list(shapes))
    parser.add_argument("--output", type=Path, default=output, help=f"folder of the results ({RESULTS})")
    return parser


def results_head(options: argparse.Namespace, *named: str) -> dict[str, Any]:
    """What every file of results begins with: date, machine, and the options that are ``named``."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        **{name: getattr(options, name) for name in named},
    }


def prepared_bundle(contestant: str, shape: str, folder: Path) -> Path:
    """A bundle with random weights of ``shape``, as ``contestant`` wants it, below ``folder``.

    Raises:
        SystemExit: it cannot be made; with the reason.
    """
    return _prepared(contestant, make_checkpoint(folder / shape / "checkpoint", shape))


def prepared_reranker(shape: str, folder: Path) -> Path:
    """A bundle of a reranker in int8, with random weights and BERT's ``shape``, below ``folder``.

    Raises:
        SystemExit: it cannot be made; with the reason.
    """
    checkpoint = make_bert_reranker(folder / f"{shape}-reranker" / "checkpoint", shape)
    return _prepared("ours-reranker-int8", checkpoint)


def _prepared(contestant: str, checkpoint: Path) -> Path:
    model = prepare([contestant], checkpoint)[contestant]
    if isinstance(model, str):
        raise SystemExit(f"the bundle cannot be made: {model}")
    return model


def write_results(results: dict[str, Any], folder: Path, name: str, *marks: str) -> Path:
    """Write ``folder/NAME-DATE-newest instruction set-MARKS.json``; the path without its suffix is returned.

    ``results`` has ``date`` and ``machine``, and maybe ``quick``, which is a mark.
    """
    newest = results["machine"]["instruction_sets"][-1:]
    parts = [name, results["date"], *newest, *marks, *(["quick"] if results.get("quick") else [])]
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / "-".join(parts)
    stem.with_suffix(".json").write_text(
        json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return stem
