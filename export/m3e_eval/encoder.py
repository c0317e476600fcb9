"""The encoders of mteb: an artifact of a bundle, and the PyTorch original."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_eval.contestant import REFERENCE, EvaluatedModel
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.readable import readable_folder
from m3e_export.checkpoint.source import fetch
from m3e_export.errors import CheckpointError
from m3e_export.hubs import DEFAULT_HUB, HubName
from m3e_export.oracle.sentence_transformers_oracle import task_of_route
from m3e_runtime import outputs
from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.extras import extra_packages
from m3e_runtime.prompts import DOCUMENT_PROMPTS

__all__ = ["ArtifactEncoder", "TextEncoder", "load_reference"]

Array = npt.NDArray[np.float32]

_MODULES = "modules.json"


class TextEncoder(EvaluatedModel):
    """The interface of a model in mteb: vectors of texts, and similarities of vectors."""

    def __init__(
        self,
        name: str,
        source: str,
        similarity: str,
        prompts: Mapping[str, str],
        default_prompt_name: str | None = None,
    ) -> None:
        super().__init__(name, source)
        self._similarity = similarity
        self._prompts = {key: text for key, text in prompts.items() if text}
        self._default_prompt = self._prompts.get(default_prompt_name or "", "")

    @abstractmethod
    def vectors(self, texts: Sequence[str], prompt: str = "") -> Array:
        """The vectors of ``texts`` with ``prompt`` before each, float32 ``[n, dimension]``."""

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> Array:
        """The vectors of all texts of the loader ``inputs``. The encoder makes its own batches."""
        texts = [text for batch in inputs for text in batch["text"]]
        return self.vectors(texts, self._prompt(task_metadata, prompt_type))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Array:
        """The similarities of all pairs by the checkpoint's function, ``[n, m]``."""
        return outputs.similarity(_matrix(embeddings1), _matrix(embeddings2), self._similarity)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Array:
        """The similarities of the vectors in the same row, ``[n]``."""
        return _pairwise(_matrix(embeddings1), _matrix(embeddings2), self._similarity)

    def cosine(self, first: str, second: str) -> float:
        """The cosine of two texts."""
        a, b = self.vectors([first, second], self._default_prompt).astype(np.float64)
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    def _prompt(self, task: Any, prompt_type: Any) -> str:
        """The most specific prompt of the checkpoint for this task, in mteb's order."""
        side = None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))
        names = [f"{task.name}-{side}", task.name, f"{task.type}-{side}", task.type]
        names += DOCUMENT_PROMPTS if side == "document" else [side]
        return next((self._prompts[name] for name in names if name in self._prompts), self._default_prompt)


class ArtifactEncoder(TextEncoder):
    """An artifact in its engine."""

    kind = "artifact"

    def __init__(self, bundle: Bundle, artifact: str, threads: int | None = None) -> None:
        self._encoder = Encoder.load(bundle.path, artifact=artifact, threads=threads)
        known = bundle.manifest
        super().__init__(
            artifact, known.source.id, known.similarity, known.prompts, known.default_prompt_name
        )

    @property
    def engine(self) -> str:
        """The engine and its version."""
        return str(self._encoder.info["engine"])

    @property
    def precision(self) -> str:
        """The precision of the artifact's weights."""
        return self._encoder.artifact.precision

    def vectors(self, texts: Sequence[str], prompt: str = "") -> Array:
        """The vectors of ``texts`` with ``prompt`` before each, float32 ``[n, dimension]``."""
        found: Array = self._encoder.encode(list(texts), prompt=prompt, show_progress_bar=False)
        return found

    def close(self) -> None:
        """Release the memory of a GPU."""
        self._encoder.close()


def load_reference(
    checkpoint: str, bundle: Bundle, threads: int | None = None, hub: HubName = DEFAULT_HUB
) -> TextEncoder:
    """The PyTorch original ``checkpoint``, a folder or a hub id, to compare ``bundle`` with.

    sentence-transformers loads the checkpoints that it wrote. Others are loaded like the oracle of an export,
    because sentence-transformers would always take the mean of their tokens.

    Raises:
        CheckpointError: the checkpoint cannot be loaded, or its dimension differs from the bundle's.
        DependencyMissingError: PyTorch or sentence-transformers is not installed.
    """
    with extra_packages("--reference", "eval", "sentence_transformers", "torch"):
        import sentence_transformers  # noqa: F401
        import torch
    if threads is not None:
        torch.set_num_threads(threads)
    folder = fetch(checkpoint, hub=hub).folder
    if (folder / _MODULES).is_file():
        reference: TextEncoder = SentenceTransformersReference(folder, bundle)
    else:
        reference = TorchReference(checkpoint, bundle, hub)
    length = reference.vectors(["length"]).shape[1]
    if length != (expected := bundle.manifest.output_dimension):
        raise CheckpointError(
            f"{checkpoint}: its vectors have {length} dimensions, and the bundle's have {expected}; "
            f"--reference must be the exported checkpoint, {bundle.manifest.source.id}."
        )
    return reference


class SentenceTransformersReference(TextEncoder):
    """The checkpoint in sentence-transformers, in float32 on the CPU."""

    kind = "reference"
    precision = "fp32"

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            with readable_folder(folder) as readable:
                self._model = SentenceTransformer(
                    str(readable),
                    device="cpu",
                    model_kwargs={"dtype": torch.float32},
                    trust_remote_code=False,
                )
        except Exception as error:  # many kinds of errors
            raise CheckpointError(f"{folder}: sentence-transformers cannot load it ({error}).") from error
        self._dimension = bundle.manifest.output_dimension
        self._task = task_of_route(self._model, bundle.manifest.route)
        # The same maximum length for both: the scores compare precisions only.
        self._model.max_seq_length = bundle.manifest.tokenization.max_length
        super().__init__(
            REFERENCE,
            bundle.manifest.source.id,
            bundle.manifest.similarity,
            dict(self._model.prompts),
            self._model.default_prompt_name,
        )

    @property
    def engine(self) -> str:
        """The engine and its version."""
        import sentence_transformers
        import torch

        return f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"

    def vectors(self, texts: Sequence[str], prompt: str = "") -> Array:
        """The vectors of ``texts`` with ``prompt`` before each, float32 ``[n, dimension]``."""
        if not texts:
            return np.zeros((0, self._dimension), dtype=np.float32)
        found: Array = self._model.encode(list(texts), prompt=prompt, show_progress_bar=False, **self._task)
        return np.asarray(found, dtype=np.float32)


class TorchReference(TextEncoder):
    """The checkpoint in transformers with its pooling, like the oracle of an export."""

    kind = "reference"
    precision = "fp32"

    def __init__(self, checkpoint: str, bundle: Bundle, hub: HubName) -> None:
        from m3e_export.oracle.torch_oracle import TorchOracle

        known = bundle.manifest
        length, self._dimension = known.tokenization.max_length, known.output_dimension
        loaded = load_checkpoint(checkpoint, pooling=known.pooling, max_length=length, hub=hub)
        self._oracle = TorchOracle(loaded)
        super().__init__(
            REFERENCE, known.source.id, known.similarity, known.prompts, known.default_prompt_name
        )

    @property
    def engine(self) -> str:
        """The engine and its version."""
        return self._oracle.name

    def vectors(self, texts: Sequence[str], prompt: str = "") -> Array:
        """The vectors of ``texts`` with ``prompt`` before each, float32 ``[n, dimension]``."""
        return self._oracle.encode(texts, lambda _: None, prompt)[:, : self._dimension]


def _matrix(vectors: Any) -> Array:
    """A matrix from one or many vectors of mteb, in arrays or tensors."""
    return np.atleast_2d(np.asarray(vectors, dtype=np.float32))


def _pairwise(a: Array, b: Array, function: str) -> Array:
    if function == "cosine":
        a, b = outputs.normalize(a), outputs.normalize(b)
    if function in ("cosine", "dot"):
        scores = (a * b).sum(axis=1)
    elif function == "euclidean":
        scores = -np.linalg.norm(a - b, axis=1)
    else:
        scores = -np.abs(a - b).sum(axis=1)
    found: Array = np.asarray(scores, dtype=np.float32)
    return found
