"""The prompt that a request asks for: by its name in the bundle, or by what the texts are."""

from __future__ import annotations

from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_serve.errors import ApiError

__all__ = ["choose_prompt"]

_QUERY = ("query", "search_query", "retrieval.query", "retrieval_query")
_DOCUMENT = (
    *("document", "passage", "corpus", "search_document"),
    *("retrieval.passage", "retrieval.document", "retrieval_document"),
)
"""Names that clients of Cohere, Jina, Voyage and Google send, and those of prompts in checkpoints; the first
that a bundle has is taken."""


def choose_prompt(encoder: Encoder, **asked: str | None) -> str:
    """The text before each text.

    Args:
        encoder: the bundle with its prompts.
        asked: by the names of the fields, at most one of them not None. ``prompt_name`` is the name of a
            prompt; others say what the texts are.

    Raises:
        ApiError: more than one is given, or the bundle has no such prompt.
    """
    given = {field: value for field, value in asked.items() if value is not None}
    if len(given) > 1:
        raise _refusal(" and ".join(given) + " say the same; send one of them.", next(iter(given)))
    for field, value in given.items():
        try:
            return _find(encoder, field, value)
        except OptionError as error:
            raise _refusal(str(error), field) from error
    return encoder.prefix(None, None)


def _find(encoder: Encoder, field: str, value: str) -> str:
    prompts = encoder.bundle.manifest.prompts
    known = ", ".join(sorted(prompts)) or "none"
    if value in prompts:
        return prompts[value]
    if field == "prompt_name":  # stricter than `encode`: a client is not to think that there was a prompt
        raise OptionError(f"prompt_name={value[:100]!r} is not in the bundle; it has: {known}.")
    kind = value.lower()
    names = _QUERY if kind in _QUERY else _DOCUMENT if kind in _DOCUMENT else ()
    for name in names:
        if name in prompts:
            return prompts[name]
    if names is _DOCUMENT and any(name in prompts for name in _QUERY):
        return ""  # a checkpoint with a prompt for queries only takes documents as they are
    raise OptionError(f"{field}={value[:100]!r} goes with no prompt of the bundle; it has: {known}.")


def _refusal(message: str, field: str) -> ApiError:
    return ApiError(400, message, "invalid_value", field, tei_status=422)
