"""The texts of the gate and of calibration: built-in ones, or those of a file."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from m3e_export.checkpoint.jsonfile import refuse_pointer
from m3e_export.errors import CheckpointError

__all__ = ["LOOK_ALIKES", "built_in", "gate_texts", "read_texts"]

_FEWEST = 20

LOOK_ALIKES = (
    *("", " ", "a [SEP] b", "[CLS] a", "[PAD]", "a[MASK]b", "[UNK] 好", "[cls]", "[ SEP ]"),
    *("a <s> b", "</s>", "a<pad>b", "<unk> 好", "a <mask> b", "<mask>", "<S>", "▁a", "##a", "Ġa"),
    *(
        "ÀÉÎ õü",
        "e\u0301",
        "İSTANBUL",
        "ﬁ ｆｕｌｌ　ｗｉｄｔｈ",
        "今天好",
        "\x00\u200b\ufeff",
        "``a''",
        "it's",
        "a\r\nb",
    ),
)
"""Texts that contain special tokens, or characters that normalizers treat differently."""


def built_in(name: str) -> tuple[str, ...]:
    """The built-in texts ``gate`` (256) or ``calibration`` (128): Chinese, English and mixed."""
    return _parse_lines(
        resources.files(__package__).joinpath(f"{name}.jsonl").read_text(encoding="utf-8"), name
    )


def gate_texts(gate: str) -> tuple[str, ...]:
    """The texts of the gate: ``default``, ``off``, or a file, as in ``--gate``.

    Raises:
        CheckpointError: see :func:`read_texts`.
    """
    return built_in("gate") if gate in ("default", "off") else read_texts(Path(gate))


def read_texts(file: Path) -> tuple[str, ...]:
    """The texts of a file: JSON Lines with a ``text`` field (``.jsonl``), else one text per line.

    Raises:
        CheckpointError: the file is unreadable, or has fewer than twenty different texts.
    """
    refuse_pointer(file)
    try:
        content = file.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read as UTF-8 text ({error}).") from error
    if file.suffix == ".jsonl":
        texts = _parse_lines(content, str(file))
    else:
        texts = tuple(line.strip() for line in content.splitlines() if line.strip())
    unique = tuple(dict.fromkeys(texts))
    if len(unique) < _FEWEST:
        raise CheckpointError(f"{file}: {len(unique)} different texts; at least {_FEWEST} are needed.")
    return unique


def _parse_lines(content: str, name: str) -> tuple[str, ...]:
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):  # JSON may contain other separators
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f'{name}:{number}: not a JSON object with a "text" field.') from error
        if not isinstance(text, str):
            raise CheckpointError(f'{name}:{number}: "text" is not a string.')
        texts.append(text)
    return tuple(texts)
