"""Texts of whatever Unicode has, for comparing tokenizers."""

from __future__ import annotations

import random

__all__ = ["COUNT", "LOOK_ALIKES", "RANGES", "generated"]

COUNT = 10_000
RANGES = {
    "ASCII": [(0x20, 0x7F)],
    "Latin with accents": [(0xA1, 0x250), (0x1E00, 0x1F00)],
    "combining marks": [(0x61, 0x7B), (0x300, 0x370)],
    "Chinese": [(0x4E00, 0xA000), (0x3400, 0x3500), (0x20000, 0x20100), (0xF900, 0xFA00)],
    "frequent Chinese": [(0x4E00, 0x4F00)],
    "kana": [(0x3041, 0x3100), (0xFF61, 0xFFA0)],
    "Hangul": [(0xAC00, 0xD7A4), (0x1100, 0x1200)],
    "Arabic": [(0x600, 0x700), (0xFB50, 0xFC00)],
    "Greek and Cyrillic": [(0x370, 0x530)],
    "Indic and Thai": [(0x900, 0x980), (0xE00, 0xE60)],
    "full width": [(0xFF01, 0xFF61)],
    "punctuation": [(0x2010, 0x2070), (0x3000, 0x3020), (0x21, 0x30)],
    "digits": [(0x30, 0x3A), (0x660, 0x66A), (0x2460, 0x2480)],
    "emoji": [(0x1F300, 0x1F650), (0x1F900, 0x1FA00), (0x200D, 0x200E), (0xFE0F, 0xFE10)],
    "controls": [(0x0, 0x20), (0x7F, 0xA0), (0x200B, 0x2010), (0xFEFF, 0xFF00)],
    "spaces": [(0x9, 0xE), (0x20, 0x21), (0xA0, 0xA1), (0x2000, 0x200B), (0x2028, 0x202A), (0x3000, 0x3001)],
    "unassigned and private": [(0x378, 0x37A), (0xE000, 0xE010), (0x10FFF0, 0x10FFFE), (0x2FE0, 0x2FF0)],
}
LOOK_ALIKES = (
    *("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "[cls]", "[unused1]", "[ SEP ]", "[CLS", "MASK]"),
    *("<s>", "</s>", "<pad>", "<unk>", "<mask>", "<S>", "< s >", " <mask>", "<mask> ", "▁", "▁a", "##a", "Ġ"),
    *("👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "e\u0301", "İ", "ß", "ﬁ", "ǆ", "ς", "ΑΣ", "don't", "it's", "I'LL", "\r\n"),
)


def generated(count: int = COUNT, seed: int = 20230601) -> list[str]:
    """``count`` texts, each of one to eight runs of one kind of characters."""
    chance = random.Random(seed)
    kinds = list(RANGES.values())

    def run() -> str:
        if chance.random() < 0.15:
            return chance.choice(LOOK_ALIKES)
        ranges = chance.choice(kinds)
        return "".join(chr(chance.randrange(*chance.choice(ranges))) for _ in range(chance.randint(1, 9)))

    return [chance.choice(("", " ")).join(run() for _ in range(chance.randint(1, 8))) for _ in range(count)]
