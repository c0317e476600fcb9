"""The oracle in PyTorch: transformers' own model and tokenizer, fed with the checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import normalizers

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.tokenizer import only_bert_vocabulary
from m3e_export.checkpoint.weights import load_tensors
from m3e_export.errors import CheckpointError
from m3e_export.oracle.sentence import sentence_vector
from m3e_runtime.outputs import normalize

__all__ = ["TorchOracle"]

_ANCHOR = "embeddings.word_embeddings.weight"
_OPTIONAL = ("pooler.", "position_ids", "token_type_ids")


class TorchOracle:
    """Float32 sentence vectors of the family's model in transformers, one text at a time, without padding."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        import torch
        import transformers

        self.name = f"torch {torch.__version__} / transformers {transformers.__version__}"
        self._torch = torch
        self._layout = checkpoint.layout
        self._dense = checkpoint.dense
        self._max_length = checkpoint.max_length
        self._tokenizer = self._load_tokenizer(transformers, checkpoint)
        self._model = self._load_model(transformers, checkpoint)

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """See :class:`m3e_export.oracle.choice.Oracle`."""
        left_out = 0 if self._layout.include_prompt else self._prompt_length(prompt)
        vectors = []
        for text in texts:
            vectors.append(self._encode_one(prompt + text, left_out))
            tick(1)
        return np.stack(vectors)

    def _prompt_length(self, prompt: str) -> int:
        """As sentence-transformers counts: without a special token at the end."""
        if not prompt:
            return 0
        ids = self._tokenizer(prompt, truncation=True, max_length=self._max_length)["input_ids"]
        return len(ids) - sum(last in self._tokenizer.all_special_ids for last in ids[-1:])

    def _encode_one(self, text: str, left_out: int) -> npt.NDArray[np.float32]:
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_length, return_tensors="pt")
        with self._torch.inference_mode():
            words = self._model.get_input_embeddings()(inputs["input_ids"])
            states = self._model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                output_hidden_states=True,
            ).hidden_states
        arrays = [each[0].numpy() for each in states]
        vector = sentence_vector(self._layout.pooling, self._dense, words[0].numpy(), arrays, left_out)
        return normalize(vector[None])[0] if self._layout.normalize else vector

    @staticmethod
    def _load_tokenizer(transformers: Any, checkpoint: Checkpoint) -> Any:
        folder = str(checkpoint.layout.transformer)
        bert = only_bert_vocabulary(checkpoint.layout.transformer, checkpoint.spec.model_type)
        loader = transformers.BertTokenizerFast if bert else transformers.AutoTokenizer
        try:
            tokenizer = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # many kinds, all meaning the folder's tokenizer is not usable
            raise CheckpointError(f"{folder}: transformers cannot load its tokenizer ({error}).") from error
        if checkpoint.layout.lower_case:  # as sentence-transformers applies do_lower_case
            backend = tokenizer.backend_tokenizer
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
        return tokenizer

    def _load_model(self, transformers: Any, checkpoint: Checkpoint) -> Any:
        settings = dict(checkpoint.config)
        config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
        tensors = load_tensors(checkpoint.layout.transformer).arrays
        prefix = next(name[: -len(_ANCHOR)] for name in tensors if name.endswith(_ANCHOR))
        state = {
            _modern_name(name[len(prefix) :]): self._torch.from_numpy(tensor.copy())
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        missing = model.load_state_dict(state, strict=False).missing_keys
        lacking = [name for name in missing if not any(part in name for part in _OPTIONAL)]
        if lacking:
            raise CheckpointError(f"the checkpoint lacks {', '.join(lacking[:5])}.")
        return model.float().eval()


def _modern_name(name: str) -> str:
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
