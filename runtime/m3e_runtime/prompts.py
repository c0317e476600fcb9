"""Prompts by name, as sentence-transformers finds them."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping

from m3e_runtime.containers import as_list
from m3e_runtime.errors import OptionError

__all__ = [
    "DOCUMENT_PROMPTS",
    "document_prompt_name",
    "named_prompt",
    "prompt_for_each",
    "query_prompt_name",
    "single_prompt",
    "with_prompts",
]

_QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names that ``encode_document`` of sentence-transformers looks for, in this order."""

_EVERYWHERE = ("query", "document")
"""Names of prompts that sentence-transformers gives every model since version 5."""


def named_prompt(prompts: Mapping[str, str], name: str) -> str:
    """The prompt called ``name``. Every model has ``query`` and ``document``, which may be empty.

    Raises:
        OptionError: there is none.
    """
    if name in prompts:
        return prompts[name]
    if name in _EVERYWHERE:
        return ""
    known = ", ".join(sorted(prompts)) or "none"
    raise OptionError(f"prompt_name={name!r} is not in the bundle; it has: {known}.")


def query_prompt_name(prompts: Container[str]) -> str | None:
    """The prompt that ``encode_query`` of sentence-transformers takes, or None where there is none."""
    return next((name for name in _QUERY_PROMPTS if name in prompts), None)


def document_prompt_name(prompts: Container[str]) -> str | None:
    """The prompt that ``encode_document`` of sentence-transformers takes, or None where there is none."""
    return next((name for name in DOCUMENT_PROMPTS if name in prompts), None)


def prompt_for_each(prompts: Iterable[str], texts: list[str]) -> list[str]:
    """The prompt of each text.

    Raises:
        OptionError: there are more or fewer prompts than texts.
    """
    each = as_list(prompts, "prompt")
    if len(each) != len(texts):
        raise OptionError(
            f"{len(each)} prompts for {len(texts)} texts; pass one for all, as a string, or one for each."
        )
    return each


def single_prompt(prompt: str | Iterable[str]) -> str:
    """The prompt of a single text.

    Raises:
        OptionError: it is not a string.
    """
    if not isinstance(prompt, str):
        raise OptionError("one text takes one prompt, as a string.")
    return prompt


def with_prompts(prompts: str | list[str], texts: list[str]) -> list[str]:
    """Texts with their prompts before them."""
    if not prompts:
        return texts
    each = itertools.repeat(prompts) if isinstance(prompts, str) else prompts
    return [prompt + text for prompt, text in zip(each, as_list(texts), strict=False)]
