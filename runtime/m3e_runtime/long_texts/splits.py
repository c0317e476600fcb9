"""Places where tokenization certainly splits a text.

The tokens of a text are those of the part before such a place, then those of the part after it. Three things
have to hold there: normalization does not look across it, no added token lies across it, and the
pre-tokenizer divides there whatever else the text holds. This is known for the steps listed here; a tokenizer
with any other step has no such places.
"""

from __future__ import annotations

import re

from tokenizers import AddedToken, Tokenizer

from m3e_runtime.long_texts.components import Step, normalizer_steps, pre_tokenizer_steps

__all__ = ["DROPS_SPACES", "certain_splits"]

DROPS_SPACES = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
"""Pre-tokenizers that divide at white space and drop it."""

_CANONICAL = ("BertNormalizer", "NFC", "NFD", "Lowercase", "StripAccents")
_LOCAL = (*_CANONICAL, "NFKC", "NFKD", "Nmt", "Precompiled")
"""Normalizers that never join a character of :data:`_BEFORE_A_SPACE` with a space after it."""

# Letters, digits, frequent punctuation, emoji. Not among them is what may form one grapheme with a space
# after it (Unicode Standard Annex 29, rule GB9b; U+0D4E is the only letter of the basic plane).
_BEFORE_A_SPACE = r"[^\W_\u0d4e\U00010000-\U0010ffff]|[.,;:!?，。！？；：、]|[\U0001F300-\U0001FAFF]"
_AT_A_SPACE = rf"(?:(?<={_BEFORE_A_SPACE.replace('|', ')|(?<=')}))(?=[%s])"

# BertNormalizer puts spaces around each ideograph; BertPreTokenizer isolates each punctuation mark.
_MARKS = "[.,;:!?，。！？；：、]"
_AT_IDEOGRAPHS = r"(?<=[\u4e00-\u9fa5])(?=[\u4e00-\u9fa5])"
_AT_PUNCTUATION = rf"(?<={_MARKS})(?=[0-9A-Za-z\u4e00-\u9fa5]|{_MARKS})"


def certain_splits(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """A pattern that matches, with width zero, where ``tokenizer`` certainly splits; None: nowhere."""
    steps = pre_tokenizer_steps(tokenizer)
    added = list(tokenizer.get_added_tokens_decoder().values())
    spaces = _split_spaces(steps)
    if not spaces or not all(map(_stays_local, normalizer_steps(tokenizer))) or any(map(_reaches_out, added)):
        return None
    alternatives = [_AT_A_SPACE % spaces]
    if steps[0]["type"] == "BertPreTokenizer":
        alternatives += _bert_splits(normalizer_steps(tokenizer), added)
    return re.compile("|".join(alternatives))


def _split_spaces(steps: list[Step]) -> str:
    """The characters before which the first pre-tokenizer divides; none where that is not known."""
    kind = steps[0]["type"] if steps else ""
    if kind in DROPS_SPACES:
        first_only = any(step.get("prepend_scheme") == "first" for step in steps[1:])
        return "" if first_only else r" \n"
    if (kind == "Metaspace" and steps[0]["split"]) or (kind == "ByteLevel" and steps[0]["use_regex"]):
        return " "  # the space belongs to the word after it, so that nothing is put before that
    return ""


def _stays_local(normalizer: Step) -> bool:
    """Whether it gives the same on both sides of a place that :data:`_AT_A_SPACE` matches."""
    kind = normalizer["type"]
    if kind == "Replace":
        pattern = normalizer["pattern"]
        literal = pattern.get("String")
        return pattern.get("Regex") == " {2,}" or (literal is not None and _is_ascii_punctuation(literal))
    return kind in _LOCAL or (kind == "Strip" and not normalizer["strip_left"])


def _is_ascii_punctuation(text: str) -> bool:
    return text.isascii() and not any(character.isalnum() or character.isspace() for character in text)


def _reaches_out(token: AddedToken) -> bool:
    """Whether an added token may lie across a split, or take in the space after it."""
    content = token.content
    takes_space = token.rstrip and re.search(rf"(?:{_BEFORE_A_SPACE})$", content) is not None
    return takes_space or any(map(str.isspace, content))


def _bert_splits(normalizers: list[Step], added: list[AddedToken]) -> list[str]:
    canonical = all(step["type"] in _CANONICAL for step in normalizers)
    if not canonical or any(re.search(rf"[^\x00-\x7f]|{_MARKS}", token.content) for token in added):
        return []
    isolates = any(step.get("handle_chinese_chars") for step in normalizers)
    return [_AT_PUNCTUATION, *([_AT_IDEOGRAPHS] if isolates else [])]
