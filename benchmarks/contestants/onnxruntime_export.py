"""ONNX Runtime on the graph that torch.onnx writes, as most people deploy it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.contestants.base import Contestant, Place, mean_pool
from benchmarks.machine import has_vnni

__all__ = ["DynamicInt8", "PaddedTokenizer", "Plain", "copy_tokenizer", "export_onnx"]

BATCH = 32


def export_onnx(checkpoint: Path, folder: Path) -> Path:
    """torch.onnx.export of transformers' model; kept when it is there already."""
    file = folder.parent / "torch-export" / "model.onnx"
    if file.exists():
        return file
    import torch
    from transformers import AutoModel

    file.parent.mkdir(parents=True, exist_ok=True)

    class LastHiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(checkpoint, attn_implementation="eager")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
            return states

    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        LastHiddenState().eval(),
        (ids, ids),
        str(file),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "last_hidden_state": axes},
        opset_version=17,
        dynamo=False,
    )
    return file


def copy_tokenizer(checkpoint: Path, folder: Path) -> None:
    """Copy what :class:`PaddedTokenizer` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())


class PaddedTokenizer:
    """Batches of 32 in the order given, padded to the longest."""

    def __init__(self, checkpoint: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        settings = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._tokenizer.enable_truncation(settings["model_max_length"])
        self._tokenizer.enable_padding()

    def batches(self, texts: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids, mask) int64 of each batch."""
        found = []
        for start in range(0, len(texts), BATCH):
            encodings = self._tokenizer.encode_batch(texts[start : start + BATCH])
            found.append(
                (
                    np.array([e.ids for e in encodings], np.int64),
                    np.array([e.attention_mask for e in encodings], np.int64),
                )
            )
        return found


class Plain(Contestant):
    """Float32."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        copy_tokenizer(checkpoint, folder)
        cls._convert(export_onnx(checkpoint, folder), folder / "model.onnx")
        return folder

    @staticmethod
    def _convert(exported: Path, target: Path) -> None:
        target.write_bytes(exported.read_bytes())

    def __init__(self, model: Path, place: Place) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = place.threads
        self._session = onnxruntime.InferenceSession(
            str(model / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = PaddedTokenizer(model)

    def encode(self, texts: list[str]) -> np.ndarray:
        pooled = []
        for ids, mask in self._tokenizer.batches(texts):
            feed = {"input_ids": ids, "attention_mask": mask}
            pooled.append(mean_pool(self._session.run(["last_hidden_state"], feed)[0], mask))
        return np.concatenate(pooled)


class DynamicInt8(Plain):
    """Stock dynamic quantization with Optimum's settings for the processor."""

    @staticmethod
    def _convert(exported: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            exported, target, per_channel=True, reduce_range=not has_vnni(), weight_type=QuantType.QInt8
        )
