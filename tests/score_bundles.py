"""Small bundles of rerankers and classifiers, with random weights."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

import synthetic
from m3e_export import ExportRequest, export
from m3e_runtime.manifest import Classification, ScoreFidelity, ScoreThresholds, decode

__all__ = ["make_score_bundle"]


def make_score_bundle(folder: Path, labels: tuple[str, ...], seed: int = 0) -> Path:
    """A bundle whose model gives a logit for each of ``labels``, below ``folder``."""
    checkpoint = synthetic.make_checkpoint(folder / "checkpoint", pooling="cls", seed=seed, **synthetic.TINY)
    _add_head(checkpoint, len(labels), seed)
    bundle = export(ExportRequest(str(checkpoint), folder / "bundle", gate="off", oracle="numpy")).path
    file = bundle / "manifest.json"
    manifest = decode(file.read_bytes())
    artifacts = tuple(
        msgspec.structs.replace(each, fidelity=None, score_fidelity=_fidelity())
        for each in manifest.artifacts
    )
    activation = "sigmoid" if len(labels) == 1 else "identity"
    changed = msgspec.structs.replace(
        manifest, artifacts=artifacts, classification=Classification(labels, activation, False)
    )
    file.write_bytes(changed.to_json())
    return bundle


def _add_head(checkpoint: Path, labels: int, seed: int) -> None:
    """A dense layer behind the pooling."""
    hidden = synthetic.TINY["hidden"]
    synthetic.write_json(checkpoint / "modules.json", synthetic.modules_of("Transformer", "Pooling", "Dense"))
    head = checkpoint / "2_Dense"
    head.mkdir()
    activation = "torch.nn.modules.linear.Identity"
    settings = {"in_features": hidden, "out_features": labels, "bias": True}
    synthetic.write_json(head / "config.json", {**settings, "activation_function": activation})
    random = np.random.default_rng(seed)
    weight = random.standard_normal((labels, hidden), dtype=np.float32)
    save_file(
        {"linear.weight": weight, "linear.bias": np.zeros(labels, np.float32)}, head / "model.safetensors"
    )


def _fidelity() -> ScoreFidelity:
    return ScoreFidelity("numpy float32", 1, 1, 0.0, 0.0, 1.0, 1.0, ScoreThresholds(), enforced=False)
