"""A bundle's tokenizer as transformers' own class, for text splitters and other code that counts tokens."""

from __future__ import annotations

import json
from typing import Any

from m3e_runtime.bundle import Bundle
from m3e_runtime.extras import extra_packages
from m3e_runtime.loaded_model import LoadedModel

__all__ = ["hf_tokenizer"]

_CONFIG = "tokenizer_config.json"
_SPECIAL = ("unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


def hf_tokenizer(model: LoadedModel) -> Any:
    """A ``PreTrainedTokenizerFast`` with its own copy of the model's tokenizer.

    Raises:
        DependencyMissingError: transformers is not installed.
    """
    purpose = "the tokenizer of transformers (Encoder.load(...).tokenizer.encode(text) does without)"
    with extra_packages(purpose, "torch", "transformers"):
        from transformers import PreTrainedTokenizerFast
    tokenizer = model.tokenizer.tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model.tokenizer.max_length,
        pad_token=tokenizer.id_to_token(model.bundle.manifest.tokenization.pad_token_id),
        **_special_tokens(model.bundle),
    )


def _special_tokens(bundle: Bundle) -> dict[str, str]:
    """The special tokens that the bundle's configuration names. Without one only their ids are known."""
    entry = next((entry for entry in bundle.manifest.files if entry.path == _CONFIG), None)
    if entry is None:
        return {}
    config = json.loads(bundle.verify(entry).read_bytes())
    found = {name: config.get(name) for name in _SPECIAL}
    contents = {
        name: token.get("content") if isinstance(token, dict) else token for name, token in found.items()
    }
    return {name: token for name, token in contents.items() if isinstance(token, str)}
