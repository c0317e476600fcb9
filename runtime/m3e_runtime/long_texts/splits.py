"""Places where tokenization certainly splits a text.

The tokens of a text are those of the part before such a place, then those of the part after it. Three things
have to hold there: normalization does not look across it, no added token lies across it, and the
pre-tokenizer divides there whatever else the text holds. This is known for the steps listed here; a tokenizer
with any other step has no such places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer

from m3e_runtime.long_texts.components import Step, is_bert, normalizer_steps, pieces_of, pre_tokenizer_steps

__all__ = ["Splits"]

_DROPS_SPACES = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
_LOCAL = (
    *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD"),
    *("Nmt", "Precompiled", "StripAccents"),
)
"""Normalizers that never join a character of :data:`_BEFORE_A_SPACE` with a space after it."""

# Letters, digits, frequent punctuation, emoji. Not among them is what may form one grapheme with a space
# after it (Unicode Standard Annex 29, rule GB9b; U+0D4E is the only letter of the basic plane).
_BEFORE_A_SPACE = (
    r"[^\W_\u0d4e\U00010000-\U0010ffff]",
    r"[.,;:!?，。！？；：、]",
    r"[\U0001F300-\U0001FAFF]",
)
_SEARCHED = 1 << 12
"""Characters in one search for a place, which holds the global interpreter lock."""


class Splits:
    """Finds places where ``tokenizer`` certainly splits.

    Attributes:
        known: whether such places are known at all.
        drops_spaces: whether white space is nothing but such a place.
        spaces: the characters before which it divides.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = list(tokenizer.get_added_tokens_decoder().values())
        normalizers, pre_tokenizers = normalizer_steps(tokenizer), pre_tokenizer_steps(tokenizer)
        self.spaces = _splitting_spaces(pre_tokenizers)
        self.known = (
            bool(self.spaces) and all(map(_is_local, normalizers)) and not any(map(_reaches_out, added))
        )
        self.drops_spaces = self.known and pre_tokenizers[0]["type"] in _DROPS_SPACES
        after = "|".join(f"(?<={each})" for each in _BEFORE_A_SPACE)
        self._at_space = re.compile(rf"(?:{after})(?=[{self.spaces or ' '}])")
        self._tokenizer = tokenizer
        self._raw_tokens = [token.content for token in added if not token.normalized]
        self._in_normalized_tokens = set("".join(token.content for token in added if token.normalized))
        self._is_bert = is_bert(tokenizer) and not any(token.single_word for token in added)
        self._before: dict[str, bool] = {}

    def search(self, text: str, start: int) -> int | None:
        """The first such place of ``text`` from ``start`` on; None: there is none near, or none is known."""
        if not self.known:
            return None
        stop = min(start + _SEARCHED, len(text))
        if self._is_bert:
            for at in range(start, stop):
                if self._splits_before(text[at]) and not self._is_inside_token(text, at):
                    return at
            return None
        space = self._at_space.search(text, start, stop)
        return space.start() if space is not None else None

    def last(self, text: str) -> int:
        """The last place at a space; 0 where there is none."""
        for stop in range(len(text), 0, -_SEARCHED) if self.known else ():
            places = [
                space.start() for space in self._at_space.finditer(text, max(0, stop - _SEARCHED), stop)
            ]
            if places:
                return places[-1]
        return 0

    def parts(self, text: str, size: int) -> Iterator[tuple[int, str]]:
        """Parts of ``text`` of at least ``size`` characters, whose tokens together are the text's.

        Yields:
            Where a part begins, and the part. A part ends at the first place that is found.
        """
        start = end = 0
        while start < len(text):
            end = min(end + size, len(text))
            split = self.search(text, end) if end < len(text) else end
            if split is not None:
                yield start, text[start:split]
                start = end = split

    def _splits_before(self, character: str) -> bool:
        """Whether BERT's steps, which judge each character by itself, always divide before this one."""
        found = self._before.get(character)
        if found is None:
            pieces = pieces_of(self._tokenizer, f"a{character}a")
            read = {character, *"".join(pieces[1:-1])}
            found = pieces[0] == "a" and len(pieces) > 1 and not read & self._in_normalized_tokens
            self._before[character] = found
        return found

    def _is_inside_token(self, text: str, at: int) -> bool:
        """Whether an added token may begin before ``at`` and end after it."""
        reach = ((content, len(content) - 1) for content in self._raw_tokens)
        return any(text.find(content, max(0, at - most), at + most) >= 0 for content, most in reach)


def _splitting_spaces(pre_tokenizers: list[Step]) -> str:
    """The characters before which the first pre-tokenizer divides; none where that is not known."""
    kind = pre_tokenizers[0]["type"] if pre_tokenizers else ""
    if kind in _DROPS_SPACES:
        first_only = any(step.get("prepend_scheme") == "first" for step in pre_tokenizers[1:])
        return "" if first_only else " \n"
    whole = {"Metaspace": "split", "ByteLevel": "use_regex"}.get(kind)
    return " " if whole and pre_tokenizers[0][whole] else ""  # it belongs to the word after it


def _is_local(normalizer: Step) -> bool:
    """Whether it gives the same for both sides of a place before a space."""
    kind = normalizer["type"]
    if kind == "Replace":
        pattern = normalizer["pattern"]
        literal = pattern.get("String")
        return pattern.get("Regex") == " {2,}" or (literal is not None and _is_ascii_punctuation(literal))
    return kind in _LOCAL or (kind == "Strip" and not normalizer["strip_left"])


def _is_ascii_punctuation(text: str) -> bool:
    return text.isascii() and not any(character.isalnum() or character.isspace() for character in text)


def _reaches_out(token: AddedToken) -> bool:
    """Whether an added token may lie across a place before a space, or take in the space."""
    takes_space = token.rstrip and any(re.search(f"{each}$", token.content) for each in _BEFORE_A_SPACE)
    return takes_space or any(map(str.isspace, token.content))
