"""Classifiers in the native format, made by hand of an embedding model: what the format is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from m3e_export.native.packing import pack_floats, pad_outputs
from m3e_export.native.safetensors_file import write_safetensors
from m3e_runtime import Reranker
from m3e_runtime.bundle import sha256_of
from m3e_runtime.manifest import GoldenVectors
from synthetic import read_json, write_json

__all__ = ["Layer", "make_classifier_bundle", "write_classifier"]

Layer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], str]
"""Weight ``[inputs, outputs]``, bias and activation of a layer after the pooling."""


_FIDELITY: dict[str, Any] = {
    "oracle": "none",
    "groups": 1,
    "pairs": 2,
    "mean_difference": 0.01,
    "max_difference": 0.05,
    "order_kept": 1.0,
    "ndcg_at_10": 1.0,
    "thresholds": {},
    "enforced": False,
}
_QUERIES = ("how do I change my card", "天气", "the query", "")
_PASSAGES = ("Change the linked card in the settings.", "今天天气很好", "the passage " * 400, "fine")


def write_classifier(
    embedding: Path,
    to: Path,
    layers: Sequence[Layer] = (),
    types: npt.NDArray[np.float32] | None = None,
    changed: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> None:
    """The weights of ``embedding``, an fp32 artifact, with a head and token types.

    Args:
        embedding: an fp32 artifact.
        to: the file.
        layers: applied to the state of the first token.
        types: embeddings of the token types from 1 on, minus that of type 0: float32 ``[types - 1, width]``.
        changed: tensors in place of those of ``embedding``.
    """
    with safe_open(embedding, "np") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    tensors |= changed or {}
    metadata |= {"pooling": "cls", "normalize": "false"}
    if layers:
        metadata["dense"] = "+".join(f"{weight.shape[1]}:{activation}" for weight, _, activation in layers)
    for number, (weight, bias, _) in enumerate(layers):
        tensors[f"dense.{number}"] = pack_floats(weight)
        tensors[f"dense.{number}.bias"] = pad_outputs(bias)
    if types is not None:
        metadata["token_types"] = str(len(types) + 1)
        tensors["token_type_embeddings"] = types
    write_safetensors(to, tensors, metadata)


def make_classifier_bundle(embedding: Path, folder: Path, labels: int = 1) -> Path:
    """A bundle of a reranker or classifier of pairs, with random layers on the bundle ``embedding``.

    Its golden logits are those of its own fp32 artifact.
    """
    shutil.copytree(embedding, folder)
    random = np.random.default_rng(labels)

    def values(*shape: int) -> npt.NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    width = read_json(folder / "manifest.json")["dimension"]
    layers = [
        (values(width, width), values(width), "tanh"),
        (values(width, labels), values(labels), "identity"),
    ]
    types = values(1, width)
    manifest = read_json(folder / "manifest.json")
    manifest["artifacts"] = [each for each in manifest["artifacts"] if each["format"] == "native"]
    for artifact in manifest["artifacts"]:
        (entry,) = artifact["files"]
        write_classifier(embedding / entry["path"], folder / entry["path"], layers, types)
        entry |= {
            "size": (folder / entry["path"]).stat().st_size,
            "sha256": sha256_of(folder / entry["path"]),
        }
        artifact |= {"fidelity": None, "score_fidelity": _FIDELITY}
    manifest |= {"dimension": labels, "pooling": "cls", "normalize": False}
    manifest["classification"] = {
        "labels": [f"label {index}" for index in range(labels)],
        "activation": "sigmoid" if labels == 1 else "identity",
        "token_types": True,
    }
    _write(folder, manifest, np.zeros((len(_QUERIES), labels), np.float32))
    reranker = Reranker.load(folder, artifact="fp32-native", threads=1)
    _write(folder, manifest, reranker.logits(list(zip(_QUERIES, _PASSAGES, strict=True))))
    return folder


def _write(folder: Path, manifest: dict[str, Any], logits: npt.NDArray[np.float32]) -> None:
    golden = GoldenVectors.pack(_QUERIES, logits, passages=_PASSAGES)
    members = {"texts": golden.texts, "vectors": golden.vectors, "passages": golden.passages}
    write_json(folder / "manifest.json", {**manifest, "golden": members})
