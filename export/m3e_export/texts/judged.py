"""What an artifact is judged or calibrated on: texts, or pairs for a reranker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3e_export.texts import built_in, gate_texts, read_texts
from m3e_export.texts.groups import built_in_groups, has_groups, pairs_of, read_groups
from m3e_runtime.manifest import Classification

__all__ = ["Judged", "calibration_texts", "judged_texts"]


@dataclass(frozen=True)
class Judged:
    """Texts, and for pairs the passage of each."""

    texts: tuple[str, ...]
    passages: tuple[str, ...] = ()


def judged_texts(gate: str, classification: Classification | None) -> Judged:
    """The texts or pairs of the gate.

    A reranker, which has one label, is judged on the built-in pairs, a classifier on the built-in texts. In a
    file, either may have queries with passages or texts.

    Args:
        gate: ``default``, ``off``, or a file, as in ``--gate``.
        classification: of the checkpoint; None for an embedding model, which is judged on texts.

    Raises:
        CheckpointError: see :func:`read_texts` and :func:`read_groups`.
    """
    if classification is None:
        return Judged(gate_texts(gate))
    if gate in ("default", "off"):
        return _built_in("gate", len(classification.labels) == 1)
    return _read(Path(gate))


def calibration_texts(given: Path | None, classification: Classification | None, pairs: bool) -> Judged:
    """The texts or pairs to calibrate with: the built-in ones, of ``pairs`` or not, or those of a file.

    Raises:
        CheckpointError: see :func:`read_texts` and :func:`read_groups`.
    """
    if given is None:
        return _built_in("calibration", pairs)
    return Judged(read_texts(given)) if classification is None else _read(given)


def _built_in(name: str, pairs: bool) -> Judged:
    return Judged(*pairs_of(built_in_groups(name))) if pairs else Judged(built_in(name))


def _read(file: Path) -> Judged:
    return Judged(*pairs_of(read_groups(file))) if has_groups(file) else Judged(read_texts(file))
