"""Small random models of a tokenizer.json, and words for them: few letters, so that pieces meet often."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

__all__ = ["MODELS", "Model", "random_text", "random_words"]

Model = dict[str, Any]

_LETTERS = ("ab", "abc", "abcdefgh", "aé中😀", "ab ▁", "中文字", 'a"\\\n\t', "ab#", "àéü￿\U0010ffff")
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _word(rng: random.Random, letters: str, longest: int) -> str:
    return "".join(rng.choices(letters, k=rng.randint(0, longest)))


def random_words(rng: random.Random, letters: str) -> list[str]:
    """Words that are empty, short and long, some with letters that no model knows."""
    return [
        _word(rng, letters + rng.choice(("", "", "xÿ")), longest) for longest in (0, *(8, 20) * 30, 150, 700)
    ]


def _ids(rng: random.Random, count: int) -> list[int]:
    """From 0 on; any; or any with repetitions."""
    return rng.choice(
        (
            list(range(count)),
            rng.sample(range(10 * count + 1), count),
            [rng.randint(0, count) for _ in range(count)],
        )
    )


def _vocabulary(rng: random.Random, tokens: list[str]) -> dict[str, int]:
    different = list(dict.fromkeys(tokens))
    rng.shuffle(different)
    return dict(zip(different, _ids(rng, len(different)), strict=True))


def _tokens(rng: random.Random, letters: str) -> list[str]:
    return [_word(rng, letters, 6) for _ in range(rng.choice((0, 3, 30, 200)))]


def word_piece(rng: random.Random, letters: str) -> Model:
    prefix = rng.choice(("##", "##", "", letters[0]))
    tokens = _tokens(rng, letters) + [prefix + token for token in _tokens(rng, letters)]
    return {
        "type": "WordPiece",
        "unk_token": rng.choice(("[UNK]", "[UNK]", "missing")),
        "continuing_subword_prefix": prefix,
        "max_input_chars_per_word": rng.choice((0, 3, 10, 100)),
        "vocab": _vocabulary(rng, ["[UNK]", *tokens]),
    }


def word_level(rng: random.Random, letters: str) -> Model:
    unknown = rng.choice(("[UNK]", "[UNK]", "missing"))
    return {
        "type": "WordLevel",
        "unk_token": unknown,
        "vocab": _vocabulary(rng, ["[UNK]", *_tokens(rng, letters)]),
    }


def bpe(rng: random.Random, letters: str) -> Model:
    prefix, suffix = rng.choice((None, None, "", "##")), rng.choice((None, None, "", "</w>"))
    unknown = rng.choice((None, "<unk>", "<unk>", "missing"))
    tokens, merges = _merges(rng, _characters(rng, letters, prefix or "", suffix or ""), prefix or "")
    if unknown == "<unk>":
        tokens += ["<unk>", "<unk><unk>"]
        merges += [] if prefix else [("<unk>", "<unk>")]
    as_strings = rng.random() < 0.5 and not any(" " in left + right for left, right in merges)
    return {
        "type": "BPE",
        "dropout": rng.choice((None, 0, 0.0)),
        "unk_token": unknown,
        "continuing_subword_prefix": prefix,
        "end_of_word_suffix": suffix,
        "fuse_unk": rng.random() < 0.5,
        "byte_fallback": rng.random() < 0.5,
        "ignore_merges": rng.random() < 0.3,
        "vocab": _vocabulary(rng, tokens + rng.choice(([], _BYTES, _BYTES[:200]))),
        "merges": [" ".join(pair) if as_strings else pair for pair in merges],
    }


def _characters(rng: random.Random, letters: str, prefix: str, suffix: str) -> list[str]:
    known = [letter for letter in letters if rng.random() < 0.9]
    return [begin + letter + end for letter in known for begin in {"", prefix} for end in {"", suffix}]


def _merges(rng: random.Random, tokens: list[str], prefix: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens and the merges that make them; in any order, and some twice."""
    tokens, merges = sorted(tokens), []
    for _ in range(rng.choice((0, 5, 30, 100)) if tokens else 0):
        left, right = rng.choice(tokens), rng.choice(tokens)
        if right.startswith(prefix) and len(left + right) < 16:
            tokens.append(left + right[len(prefix) :])
            merges.append((left, right))
    if rng.random() < 0.3:
        rng.shuffle(merges)
    return tokens, merges + merges[: rng.choice((0, 0, 4))]


def unigram(rng: random.Random, letters: str) -> Model:
    tokens = [
        *_tokens(rng, letters),
        *rng.choice(([], _BYTES)),
        *rng.choice(([], ["<unk>"] * 2, ["<unk>"] * 3)),
    ]
    rng.shuffle(tokens)
    unknown = tokens.index("<unk>") if "<unk>" in tokens else rng.choice((None, 0 if tokens else None))
    return {
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": [[token, _score(rng)] for token in tokens],
        "byte_fallback": rng.random() < 0.5,
    }


def _score(rng: random.Random) -> float:
    """Scores that tie often, sums of which tie but for rounding, and others."""
    return rng.choice((-rng.randrange(5), rng.choice((-0.1, -0.2, -0.3, -0.7, 0.1)), -20 * rng.random()))


MODELS: dict[str, Callable[[random.Random, str], Model]] = {
    function.__name__: function for function in (bpe, unigram, word_level, word_piece)
}


def random_text(rng: random.Random, kind: str) -> tuple[str, str]:
    """A model's JSON, its members in any order, and its letters."""
    letters = rng.choice(_LETTERS)
    members = list(MODELS[kind](rng, letters).items())
    rng.shuffle(members)
    indent = rng.choice((None, 2))
    return json.dumps(dict(members), ensure_ascii=rng.random() < 0.5, indent=indent), letters
