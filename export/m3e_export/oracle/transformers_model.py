"""A checkpoint's model and tokenizer in transformers: its classes, fed with the checkpoint's tensors.

Whatever model_type transformers knows by itself can be loaded. Code that a checkpoint brings is never run.
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


def load_model(config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[np.float32]]) -> Any:
    """The encoder in PyTorch, in float32, ready for inference.

    Args:
        config: the content of config.json.
        tensors: the checkpoint's, whatever its trainer put before their names.

    Raises:
        CheckpointError: a tensor is missing, or not of the shape that the config says.
        UnsupportedModelError: transformers does not know the model_type.
    """
    import torch
    import transformers

    settings = dict(config)
    model_type = str(settings.pop("model_type", None))
    try:
        known = transformers.AutoConfig.for_model(model_type, **settings)
        with torch.device("meta"):  # sizes alone: what class it is, and the names of its tensors
            empty = transformers.AutoModel.from_config(known, trust_remote_code=False)
    except Exception as error:  # every class checks its config in its own way
        raise UnsupportedModelError(
            f"config.json: transformers {transformers.__version__} makes no model of model_type "
            f"{model_type!r}: {_reason(error)}"
        ) from error
    own = _without_prefix(tensors, empty.state_dict(), empty.base_model_prefix)
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in own.items()}
    try:
        with quiet():  # what is missing is an error below
            model, found = type(empty).from_pretrained(
                None,
                config=known,
                state_dict=state,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except Exception as error:  # whatever a conversion finds wrong
        raise CheckpointError(f"the weights do not fit a {model_type!r} model: {_reason(error)}") from error
    if found["mismatched_keys"]:
        name, shape, expected = min(found["mismatched_keys"])
        raise CheckpointError(f"{name}: shape {tuple(shape)}, config.json says {tuple(expected)}.")
    lacking = sorted(name for name in found["missing_keys"] if not any(part in name for part in _OPTIONAL))
    if lacking:
        raise CheckpointError(f"the checkpoint lacks {', '.join(lacking[:5])}.")
    return model.float().eval()


def load_tokenizer(sentence_config: SentenceConfig, model_type: str) -> Any:
    """The tokenizer as AutoTokenizer gives it, or BERT's where only its vocabulary is there.

    Raises:
        CheckpointError: its files are missing or broken.
    """
    import transformers

    folder = sentence_config.tokenizer
    for pattern in ("*.json", "*.txt", "*.model"):
        for file in folder.glob(pattern):
            refuse_pointer(file)
    bert = only_bert_vocabulary(sentence_config.tokenizer, model_type)
    loader = transformers.BertTokenizerFast if bert else transformers.AutoTokenizer
    try:
        with readable_folder(folder) as readable:
            tokenizer = loader.from_pretrained(str(readable), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # many kinds, all meaning the folder's tokenizer is not usable
        raise CheckpointError(f"{folder}: transformers cannot load its tokenizer ({error}).") from error
    if sentence_config.lower_case:  # as sentence-transformers applies do_lower_case
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    return tokenizer


def load_fast_tokenizer(sentence_config: SentenceConfig, model_type: str) -> Tokenizer:
    """What computes in :func:`load_tokenizer`'s tokenizer, without padding and truncation.

    Raises:
        CheckpointError: its files are missing or broken.
        UnsupportedModelError: it is written in Python alone.
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
    """The tensors under the names that transformers looks for: ``names``, alone or after ``base``."""
    if any(name in names or name.removeprefix(f"{base}.") in names for name in tensors):
        return tensors
    prefixes = [found[: -len(name)] for name in names for found in tensors if found.endswith(f".{name}")]
    if not prefixes:
        return tensors
    start = len(prefixes[0])
    return {name[start:]: tensor for name, tensor in tensors.items() if name.startswith(prefixes[0])}


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
