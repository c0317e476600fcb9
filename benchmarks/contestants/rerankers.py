"""Ways to score passages. A contestant's texts are a query and its passages."""

from __future__ import annotations

import abc
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from benchmarks.contestants.base import Contestant, Place
from benchmarks.contestants.openvino_export import compile_graph, quantize
from benchmarks.machine import has_vnni

__all__ = [
    "CrossEncoderOnnx",
    "CrossEncoderOpenVino",
    "CrossEncoderTorch",
    "DynamicInt8",
    "FastEmbed",
    "Fp32",
    "Int8",
    "OnnxExport",
    "OpenVino",
    "OpenVinoInt8",
]

BATCH = 32
_CALIBRATION = 8  # queries, with passages; few, because the weights mean nothing


class _Scorer(Contestant):
    """A model that scores the passages ``texts[1:]`` for the query ``texts[0]``."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return checkpoint

    def encode(self, texts: list[str]) -> np.ndarray:
        """Logits, float32 ``[passages, 1]``. A query alone is its own passage."""
        return np.asarray(self.score(texts[0], texts[1:] or texts), dtype=np.float32).reshape(-1, 1)

    @abc.abstractmethod
    def score(self, query: str, passages: list[str]) -> Any:
        """A logit for each passage."""


class _Ours(_Scorer):
    """m3e-runtime's native engine in one precision."""

    precision: ClassVar[Literal["fp32", "int8"]]

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        from benchmarks.rerankers import passages_of
        from m3e_export import ExportRequest, export

        folder.mkdir(parents=True, exist_ok=True)
        query, passages = passages_of(checkpoint, 24, 4 * _CALIBRATION)
        groups = [{"query": query, "passages": passages[at::_CALIBRATION]} for at in range(_CALIBRATION)]
        calibration = folder / "groups.jsonl"
        calibration.write_text("\n".join(map(json.dumps, groups)), encoding="utf-8")
        request = ExportRequest(
            str(checkpoint),
            folder / "bundle",
            calibration=calibration,
            precisions=(cls.precision,),
            targets=("native",),
            gate="off",  # random weights hardly rank; every matrix stays in the precision
            oracle="numpy",
            force=True,
        )
        return export(request).path

    def __init__(self, model: Path, place: Place) -> None:
        from m3e_runtime import Reranker

        self._reranker = Reranker.load(model, threads=place.threads)

    def score(self, query: str, passages: list[str]) -> Any:
        pairs = [(query, passage) for passage in passages]
        return self._reranker.predict(pairs, activation_fn="identity", show_progress_bar=False)

    def details(self, texts: list[str]) -> dict[str, Any]:
        info = self._reranker.info
        return {"mix": info["mix"], "instruction_set": info["instruction_set"]}


class Int8(_Ours):
    """Integer products."""

    precision = "int8"


class Fp32(_Ours):
    """Float32."""

    precision = "fp32"


class CrossEncoderTorch(_Scorer):
    """CrossEncoder of sentence-transformers, float32."""

    backend: ClassVar[Literal["torch", "onnx", "openvino"]] = "torch"

    def __init__(self, model: Path, place: Place) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(place.threads)
        self._model = CrossEncoder(
            str(model), device="cpu", backend=self.backend, model_kwargs=self._settings(place)
        )

    def _settings(self, place: Place) -> dict[str, Any]:
        return {}

    def score(self, query: str, passages: list[str]) -> Any:
        from torch import nn

        pairs = [(query, passage) for passage in passages]
        return self._model.predict(
            pairs, batch_size=BATCH, show_progress_bar=False, activation_fn=nn.Identity()
        )


class CrossEncoderOnnx(CrossEncoderTorch):
    """CrossEncoder's backend ``onnx``, which needs optimum-onnx."""

    backend = "onnx"

    def _settings(self, place: Place) -> dict[str, Any]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = place.threads
        return {"provider": "CPUExecutionProvider", "export": True, "session_options": options}


class CrossEncoderOpenVino(CrossEncoderTorch):
    """CrossEncoder's backend ``openvino``, which needs optimum-intel."""

    backend = "openvino"

    def _settings(self, place: Place) -> dict[str, Any]:
        config = {"INFERENCE_NUM_THREADS": place.threads, "INFERENCE_PRECISION_HINT": "f32"}
        return {"export": True, "ov_config": config}


class OnnxExport(_Scorer):
    """ONNX Runtime by hand on the graph that torch.onnx writes, float32."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        exported = _export_onnx(checkpoint, folder.parent / "torch-export")
        (folder / "onnx").mkdir(parents=True, exist_ok=True)
        cls._convert(exported, folder / "onnx" / "model.onnx")
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "special_tokens_map.json"):
            if (checkpoint / name).exists():
                (folder / name).write_bytes((checkpoint / name).read_bytes())
        return folder

    @staticmethod
    def _convert(exported: Path, target: Path) -> None:
        for file in exported.parent.iterdir():  # weights above 2 GB are beside the graph
            os.link(file, target.parent / file.name)

    def __init__(self, model: Path, place: Place) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        self._tokenizer.enable_truncation(config["max_position_embeddings"] - 2)
        self._tokenizer.enable_padding(pad_id=config["pad_token_id"], pad_token="<pad>")
        self._load(model / "onnx" / "model.onnx", place)

    def _load(self, graph: Path, place: Place) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = place.threads
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def _run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        logits: np.ndarray = self._session.run(["logits"], feed)[0]
        return logits

    def score(self, query: str, passages: list[str]) -> Any:
        logits = []
        for start in range(0, len(passages), BATCH):
            pairs = [(query, passage) for passage in passages[start : start + BATCH]]
            encodings = self._tokenizer.encode_batch(pairs)
            ids = np.array([each.ids for each in encodings], np.int64)
            mask = np.array([each.attention_mask for each in encodings], np.int64)
            logits.append(self._run({"input_ids": ids, "attention_mask": mask}))
        return np.concatenate(logits)


class DynamicInt8(OnnxExport):
    """ONNX Runtime's stock dynamic quantization of that graph, with Optimum's settings for the processor."""

    @staticmethod
    def _convert(exported: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # onnx refuses files of weights with several names, and those of the others are links to them.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            shutil.copytree(exported.parent, folder, dirs_exist_ok=True)
            quantize_dynamic(
                Path(folder) / exported.name,
                target,
                per_channel=True,
                reduce_range=not has_vnni(),
                weight_type=QuantType.QInt8,
                use_external_data_format=any(file != exported for file in exported.parent.iterdir()),
            )


class OpenVino(OnnxExport):
    """OpenVINO by hand on the same graph, float32."""

    def _load(self, graph: Path, place: Place) -> None:
        self._model = compile_graph(self._file(graph), place)

    @staticmethod
    def _file(graph: Path) -> Path:
        return graph

    def _run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        logits: np.ndarray = self._model(feed)[0]
        return logits


class OpenVinoInt8(OpenVino):
    """OpenVINO on NNCF's static quantization of that graph."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        from tokenizers import Tokenizer

        from benchmarks.rerankers import passages_of

        model = super().prepare(checkpoint, folder)
        tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        query, passages = passages_of(checkpoint, 24, 4 * _CALIBRATION)
        encodings = tokenizer.encode_batch([(query, passage) for passage in passages])
        feeds = (
            {
                "input_ids": np.array([each.ids], np.int64),
                "attention_mask": np.array([each.attention_mask], np.int64),
            }
            for each in encodings
        )
        graph = model / "onnx" / "model.onnx"
        quantize(graph, cls._file(graph), feeds)
        for file in list(graph.parent.iterdir()):  # its size is told by what is left
            if file.stem != "model" or file.suffix not in {".xml", ".bin"}:
                file.unlink()
        return model

    @staticmethod
    def _file(graph: Path) -> Path:
        return graph.with_suffix(".xml")


class FastEmbed(OnnxExport):
    """fastembed's TextCrossEncoder on the same graph, as a model of its own that lies in a folder."""

    def __init__(self, model: Path, place: Place) -> None:
        from fastembed.common.model_description import ModelSource
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        name = "m3e/benchmark"
        TextCrossEncoder.add_custom_model(name, sources=ModelSource(url="none"), model_file="onnx/model.onnx")
        self._reranker = TextCrossEncoder(name, threads=place.threads, specific_model_path=str(model))

    def score(self, query: str, passages: list[str]) -> Any:
        return list(self._reranker.rerank(query, passages, batch_size=BATCH))


def _export_onnx(checkpoint: Path, folder: Path) -> Path:
    """torch.onnx.export of transformers' model; kept when it is there already."""
    file = folder / "model.onnx"
    if file.exists():
        return file
    import torch
    from transformers import AutoModelForSequenceClassification

    folder.mkdir(parents=True, exist_ok=True)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModelForSequenceClassification.from_pretrained(
                checkpoint, attn_implementation="eager"
            )

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        Logits().eval(),
        (ids, ids),
        str(file),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    return file
