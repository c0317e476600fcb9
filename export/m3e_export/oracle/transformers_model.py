"""A checkpoint's model and tokenizer in transformers, with the checkpoint's tensors.

Every model_type of transformers can be loaded. Code in a checkpoint is never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, normalizers

from m3e_export.checkpoint.jsonfile import refuse_pointer
from m3e_export.checkpoint.readable import readable_folder
from m3e_export.checkpoint.sentence_config import SentenceConfig
from m3e_export.checkpoint.tokenizer import only_bert_vocabulary
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.quiet import quiet

__all__ = ["load_fast_tokenizer", "load_model", "load_tokenizer"]

_OPTIONAL = ("pooler.", "position_ids", "token_type_ids")


def load_model(
    config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[np.float32]], auto: Any = None
) -> Any:
    """The model in PyTorch, in float32, ready for inference.

    Args:
        config: the content of config.json.
        tensors: the checkpoint's. Their names may have any prefix.
        auto: the class of transformers that chooses the model's class; AutoModel, of encoders, by default.

    Raises:
        CheckpointError: a tensor is missing, or its shape differs from config.json.
        UnsupportedModelError: transformers does not know the model_type.
    """
    import torch
    import transformers

    settings = dict(config)
    model_type = str(settings.pop("model_type", None))
    try:
        known = transformers.AutoConfig.for_model(model_type, **settings)
        with torch.device("meta"):  # without data: only the class and the names of its tensors
            empty = (auto or transformers.AutoModel).from_config(known, trust_remote_code=False)
    except Exception as error:  # each class raises its own errors
        raise UnsupportedModelError(
            f"config.json: transformers {transformers.__version__} makes no model of model_type "
            f"{model_type!r}: {_reason(error)}"
        ) from error
    own = _without_prefix(tensors, empty.state_dict(), empty.base_model_prefix)
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in own.items()}
    try:
        with quiet():  # missing tensors raise an error below
            model, found = type(empty).from_pretrained(
                None,
                config=known,
                state_dict=state,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except Exception as error:  # a conversion may raise anything
        raise CheckpointError(f"the weights do not fit a {model_type!r} model: {_reason(error)}") from error
    if found["mismatched_keys"]:
        name, shape, expected = min(found["mismatched_keys"])
        raise CheckpointError(f"{name}: shape {tuple(shape)}, config.json says {tuple(expected)}.")
    lacking = sorted(name for name in found["missing_keys"] if not any(part in name for part in _OPTIONAL))
    if lacking:
        raise CheckpointError(f"the checkpoint lacks {', '.join(lacking[:5])}.")
    return model.float().eval()


def load_tokenizer(sentence_config: SentenceConfig, model_type: str) -> Any:
    """The tokenizer that AutoTokenizer loads, or BERT's if there is only its vocabulary.

    Raises:
        CheckpointError: a file is missing or broken.
    """
    import transformers

    folder = sentence_config.tokenizer
    for pattern in ("*.json", "*.txt", "*.model"):
        for file in folder.glob(pattern):
            refuse_pointer(file)
    bert = only_bert_vocabulary(sentence_config.tokenizer, model_type)
    loader = transformers.BertTokenizerFast if bert else transformers.AutoTokenizer
    try:
        with quiet(), readable_folder(folder) as readable:
            tokenizer = loader.from_pretrained(str(readable), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # many kinds of errors
        raise CheckpointError(f"{folder}: transformers cannot load its tokenizer ({error}).") from error
    if sentence_config.lower_case:  # as sentence-transformers applies do_lower_case
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    return tokenizer


def load_fast_tokenizer(sentence_config: SentenceConfig, model_type: str) -> Tokenizer:
    """The tokenizer of :func:`load_tokenizer` as a ``tokenizers.Tokenizer`` without padding and truncation.

    Raises:
        CheckpointError: a file is missing or broken.
        UnsupportedModelError: the tokenizer is pure Python.
    """
    loaded = load_tokenizer(sentence_config, model_type)
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise UnsupportedModelError(
            f"{sentence_config.tokenizer}: its tokenizer, {type(loaded).__name__}, has no tokenizer.json, "
            "and transformers makes none."
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _without_prefix(
    tensors: Mapping[str, npt.NDArray[np.float32]], names: Mapping[str, Any], base: str
) -> Mapping[str, npt.NDArray[np.float32]]:
    """``tensors`` under the names that transformers expects: ``names``, maybe with the prefix ``base``."""
    if any(name in names or name.removeprefix(f"{base}.") in names for name in tensors):
        return tensors
    prefixes = [found[: -len(name)] for name in names for found in tensors if found.endswith(f".{name}")]
    if not prefixes:
        return tensors
    start = len(prefixes[0])
    return {name[start:]: tensor for name, tensor in tensors.items() if name.startswith(prefixes[0])}


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
