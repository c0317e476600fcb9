"""Prompts by name, as sentence-transformers finds them."""

from __future__ import annotations

from collections.abc import Container, Mapping

from m3e_runtime.errors import OptionError

__all__ = ["DOCUMENT_PROMPTS", "document_prompt_name", "named_prompt", "query_prompt_name"]

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
