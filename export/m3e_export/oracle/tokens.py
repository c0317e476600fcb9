"""Comparing the token ids of the exported tokenizer with those of transformers."""

from __future__ import annotations

import importlib.util
from typing import Any

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.inputs import model_inputs
from m3e_export.oracle.transformers_model import load_tokenizer
from m3e_export.texts import LOOK_ALIKES
from m3e_export.texts.judged import Judged

__all__ = ["check_tokens"]

_SHOWN, _QUOTED = 8, 40
"""Tokens of each side, and characters of the text, that an error shows."""


def check_tokens(checkpoint: BaseCheckpoint, judged: Judged, may_quote: bool) -> None:
    """Compare the tokens of ``judged`` and of :data:`LOOK_ALIKES`, if transformers is installed.

    Args:
        checkpoint: holds the exported tokenizer.
        judged: the gate's texts or pairs.
        may_quote: whether an error may quote them. Texts of users are never quoted.

    Raises:
        CheckpointError: token ids, or token types of pairs, differ.
    """
    if importlib.util.find_spec("transformers") is None:
        return
    theirs = load_tokenizer(checkpoint.sentence_config, checkpoint.model_type)
    if judged.passages:
        _check_pairs(checkpoint, judged, theirs, may_quote)
    ours = checkpoint.text_tokenizer()
    every = [*LOOK_ALIKES, *(() if judged.passages else judged.texts)]
    for number, (text, found) in enumerate(zip(every, ours.encode_batch(every), strict=True)):
        expected = theirs(text, truncation=True, max_length=checkpoint.max_length)["input_ids"]
        if found.tolist() != list(expected):
            own = may_quote or number < len(LOOK_ALIKES)
            raise CheckpointError(_difference(text, found.tolist(), list(expected), theirs, own))


def _check_pairs(checkpoint: BaseCheckpoint, judged: Judged, theirs: Any, may_quote: bool) -> None:
    # Each look-alike is in the place of a query and of a passage.
    queries = [*LOOK_ALIKES, *LOOK_ALIKES, *judged.texts]
    passages = [*LOOK_ALIKES[1:], *LOOK_ALIKES[:1], *("a b" for _ in LOOK_ALIKES), *judged.passages]
    ours = model_inputs(checkpoint, queries, passages)
    # In lists, as CrossEncoder gives them: transformers takes a single pair with an empty passage for a text.
    expected = theirs(
        queries, passages, truncation=True, max_length=checkpoint.max_length, return_token_type_ids=True
    )
    for place, ids in enumerate(expected["input_ids"]):
        own = may_quote or place < 2 * len(LOOK_ALIKES)
        if (found := ours.ids[place].tolist()) != list(ids):
            both = f"{queries[place][: _QUOTED // 2]} | {passages[place]}"
            raise CheckpointError(_difference(both, found, list(ids), theirs, own))
        if ours.types is not None and ours.types[place].tolist() != list(expected["token_type_ids"][place]):
            raise CheckpointError(
                f"the token types of a pair differ from those of transformers' {type(theirs).__name__}; save "
                "the tokenizer again with transformers, or use `--oracle numpy` to skip this check."
            )


def _difference(text: str, found: list[int], expected: list[int], tokenizer: Any, may_quote: bool) -> str:
    both = zip(found, expected, strict=False)
    place = next((i for i, (a, b) in enumerate(both) if a != b), min(len(found), len(expected)))
    where = slice(max(0, place - 1), place + _SHOWN)
    shown = ""
    if may_quote:
        words = (tokenizer.convert_ids_to_tokens(ids[where]) for ids in (found, expected))
        shown = " of {!r}: {} here, {} there".format(text[:_QUOTED], *words)
    return (
        f"the tokens differ from those of transformers' {type(tokenizer).__name__}, from token {place} on"
        f"{shown}. A setting of the tokenizer is not supported; save the tokenizer again with transformers, "
        "or use `--oracle numpy` to skip this check."
    )
