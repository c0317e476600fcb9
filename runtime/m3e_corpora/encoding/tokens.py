"""The rows of a window as token ids: texts for an encoder, pairs or texts for a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from m3e_corpora.inputs.rows import Rows
from m3e_runtime.encoder import Encoder
from m3e_runtime.late_interaction import Task
from m3e_runtime.reranker import Reranker
from m3e_runtime.tokenization import TokenIds

__all__ = ["Model", "Text", "longest_text", "prompt_lengths", "texts_of", "tokenize"]

Model = Encoder | Reranker

Text = tuple[str, ...]
"""A text: its prompt and itself, or, for a reranker, a query and a passage, or the text alone."""

Tokens = tuple[list[TokenIds], list[TokenIds] | None, list[bool]]


def texts_of(model: Model, rows: Rows, prefix: str) -> list[Text]:
    """The texts of ``rows``. ``prefix`` is the prompt of texts that have none of their own."""
    if isinstance(model, Encoder):
        prompts = repeat(prefix) if rows.prompts is None else rows.prompts
        return list(zip(prompts, rows.texts, strict=False))
    if rows.prompts is None:
        return [(prefix + text,) for text in rows.texts]
    return [(prefix + query, text) for query, text in zip(rows.prompts, rows.texts, strict=True)]


def tokenize(model: Model, texts: Sequence[Text], task: Task | None = None) -> Tokens:
    """Token ids of each text, the types of its tokens if the model takes them, and whether it was cut.

    ``task`` is as in :meth:`m3e_runtime.Encoder.encode_outputs`.
    """
    if isinstance(model, Encoder):
        tokenizer = model.tokenizer_of(task)
        ids, cut = tokenizer.encode_batch_marked([prompt + text for prompt, text in texts])
        return model.expanded(ids, task), None, cut
    tokens = model.tokenize(texts)
    return tokens.ids, tokens.types if model.classification.token_types else None, tokens.cut


def longest_text(model: Model, task: Task | None) -> int:
    """Most tokens of a text."""
    return model.tokenizer_of(task).max_length if isinstance(model, Encoder) else model.max_seq_length


def prompt_lengths(model: Model, texts: Sequence[Text]) -> list[int] | None:
    """Number of tokens of each text's prompt; None where they are not needed."""
    return model.prompt_lengths([text[0] for text in texts]) if isinstance(model, Encoder) else None
