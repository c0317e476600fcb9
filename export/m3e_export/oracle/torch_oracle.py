"""The oracle in PyTorch: transformers' model and tokenizer with the checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.oracle.sentence import sentence_vector
from m3e_export.oracle.transformers_model import load_model, load_tokenizer
from m3e_runtime.outputs import normalize

__all__ = ["TorchOracle"]


class TorchOracle:
    """Float32 sentence vectors from the model in transformers, one text at a time, without padding."""

    def __init__(self, checkpoint: BaseCheckpoint, model: Any = None) -> None:
        """``model`` is the result of :func:`load_model`, if it is loaded already."""
        import torch
        import transformers

        self.name = f"torch {torch.__version__} / transformers {transformers.__version__}"
        self._torch = torch
        self._sentence_config = checkpoint.sentence_config
        self._dense = checkpoint.dense
        self._state_weights = checkpoint.state_weights
        self._max_length = checkpoint.max_length
        self._tokenizer = load_tokenizer(checkpoint.sentence_config, checkpoint.model_type)
        self._model = model or load_model(checkpoint.config, checkpoint.sentence_config.load_weights().arrays)

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each."""
        left_out = 0 if self._sentence_config.include_prompt else self._prompt_length(prompt)
        vectors = []
        for text in texts:
            vectors.append(self._encode_one(prompt + text, left_out))
            tick(1)
        return np.stack(vectors)

    def _prompt_length(self, prompt: str) -> int:
        """Tokens of ``prompt`` as sentence-transformers counts them, without a special token at the end."""
        if not prompt:
            return 0
        ids = self._tokenizer(prompt, truncation=True, max_length=self._max_length)["input_ids"]
        return len(ids) - sum(last in self._tokenizer.all_special_ids for last in ids[-1:])

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[npt.NDArray[np.float32]]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        found = []
        for text in texts:
            found.append(self._run(text)[1][-1])
            tick(1)
        return found

    def _encode_one(self, text: str, left_out: int) -> npt.NDArray[np.float32]:
        words, states = self._run(text)
        vector = sentence_vector(
            self._sentence_config.pooling,
            self._dense,
            words,
            states,
            left_out,
            self._state_weights,
        )
        return normalize(vector[None])[0] if self._sentence_config.normalize else vector

    def _run(self, text: str) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        """The rows of the word embeddings, and all states."""
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_length, return_tensors="pt")
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        try:
            with self._torch.inference_mode():
                words = self._model.get_input_embeddings()(ids)
                found = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        except Exception as error:  # the model's code may raise anything, such as an index beyond a table
            raise CheckpointError(
                f"the original model fails on a text of {ids.shape[1]} tokens: {error}"
            ) from error
        # Some models normalize again after the last of their hidden_states.
        states = [*found.hidden_states[:-1], found.last_hidden_state]
        return words[0].numpy(), [each[0].numpy() for each in states]
