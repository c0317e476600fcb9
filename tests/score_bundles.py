"""Small bundles of rerankers and classifiers, with random weights."""

from __future__ import annotations

from pathlib import Path

import synthetic
from m3e_export import ExportRequest, export
from scoring_bundles import make_classifier

__all__ = ["make_score_bundle"]


def make_score_bundle(folder: Path, labels: tuple[str, ...]) -> Path:
    """A bundle whose model gives a logit for each of ``labels``, below ``folder``."""
    checkpoint = make_classifier(folder / "checkpoint", len(labels))
    names = dict(enumerate(labels))
    synthetic.update_json(
        checkpoint / "config.json", id2label=names, label2id={name: number for number, name in names.items()}
    )
    return export(ExportRequest(str(checkpoint), folder / "bundle", gate="off", oracle="numpy")).path
