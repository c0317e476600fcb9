"""What the classes that replace those of sentence-transformers share: arguments, and what is not offered."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3e_runtime.arguments import check_text
from m3e_runtime.backends.device import device_name
from m3e_runtime.errors import BundleError, OptionError
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["NOT_OFFERED", "check_place", "checked_prompts", "find_bundle", "warn_of"]

_IGNORED = (
    "backend",
    "cache_folder",
    "config_kwargs",
    "local_files_only",
    "model_card_data",
    "model_kwargs",
    "processor_kwargs",
    "revision",
    "token",
    "tokenizer_kwargs",
    "trust_remote_code",
    "use_auth_token",
)
_ONE_PROCESS = "is not offered: one process uses every core that it has. Call encode() with all texts."
_ENCODES_ONLY = "is not offered: a bundle encodes and nothing else. Use sentence-transformers for it."
NOT_OFFERED = {
    **dict.fromkeys(
        ("start_multi_process_pool", "stop_multi_process_pool", "encode_multi_process"), _ONE_PROCESS
    ),
    **dict.fromkeys(
        ("evaluate", "fit", "forward", "half", "parameters", "push_to_hub", "save", "save_pretrained",
         "train"),
        _ENCODES_ONLY,
    ),
}  # fmt: skip
"""Methods of sentence-transformers that a bundle does not have, and why."""


def check_place(device: Any, pool: Any, own: str) -> None:
    """Check that a call asks for the model's ``own`` device, and for this process.

    Raises:
        OptionError: it asks for another one.
    """
    if pool is not None or isinstance(device, (list, tuple)):
        raise OptionError(f"Encoding in several processes {_ONE_PROCESS}")
    if device is not None and device_name(device) not in (own, own.partition(":")[0]):
        raise OptionError(f"device={str(device)!r}: the model is on {own!r}; load another one with device=.")


def checked_prompts(prompts: Any) -> dict[str, str]:
    """``prompts`` without those that are None, which sentence-transformers has for missing ones.

    Raises:
        OptionError: they are not a dictionary of strings.
    """
    if not isinstance(prompts or {}, Mapping):
        raise OptionError(f"prompts={prompts!r} is {type(prompts).__name__}, not a dictionary of strings.")
    given = {name: prompt for name, prompt in dict(prompts or {}).items() if prompt is not None}
    for name, prompt in given.items():
        check_text(f"prompts[{name!r}]", prompt)
    return given


def warn_of(ignored: dict[str, Any], name: str, *others: str) -> None:
    """Warn of arguments of the class ``name`` that have no effect; ``others`` are of this class only.

    Raises:
        TypeError: sentence-transformers does not have such an argument.
    """
    unknown = [each for each in ignored if each not in (*_IGNORED, *others)]
    if unknown:
        raise TypeError(f"{name}() of m3e_runtime takes no argument {', '.join(unknown)}.")
    given = [each for each, value in ignored.items() if value not in (None, False)]
    if given:
        warnings.warn(f"A bundle is loaded as it is: {', '.join(given)} ignored.", stacklevel=3)


def find_bundle(folder: Path) -> Path:
    """``folder`` if it is a bundle, else the only bundle directly in it.

    Raises:
        BundleError: there are several.
    """
    if (folder / MANIFEST_NAME).is_file() or not folder.is_dir():
        return folder
    inside = sorted(file.parent for file in folder.glob(f"*/{MANIFEST_NAME}"))
    if len(inside) > 1:
        names = ", ".join(each.name for each in inside)
        raise BundleError(f"{folder}: has several bundles, pass one of them: {names}.")
    return inside[0] if inside else folder
