"""Options of a build: profiles, GPUs, memory."""

from __future__ import annotations

from dataclasses import dataclass

from m3e_runtime.gpu.batch_shapes import PackedLayout

__all__ = ["EngineOptions", "Profile", "Span", "default_profiles"]


@dataclass(frozen=True)
class Span:
    """A dimension's smallest, most usual and largest size."""

    least: int
    usual: int
    most: int


_BATCH_TOKENS = 16384
"""Tokens of the largest batch in every profile: scratch memory is taken for the largest shape of all."""

_FEW_TEXTS = 8
_PACKED_TEXTS = Span(1, 128, 512)
_PACKED_TOKENS = Span(1, _BATCH_TOKENS // 2, _BATCH_TOKENS)


@dataclass(frozen=True)
class Profile:
    """A range of input shapes that kernels are chosen for.

    Texts in a run, and tokens: of the longest where texts are padded, of all where they are packed.
    """

    texts: Span
    tokens: Span


def default_profiles(max_length: int, layout: str = "padded") -> tuple[Profile, ...]:
    """One for latency (a single text, usually short), then those for throughput (many of them)."""
    if layout == "packed":
        return _packed_profiles(max_length)
    alone = Profile(Span(1, 1, 1), Span(1, min(32, max_length), max_length))
    return (alone, *(_many_texts(length) for length in _throughput_lengths(max_length)))


def _throughput_lengths(max_length: int) -> tuple[int, ...]:
    """Longest texts of the profiles: many short texts, or fewer long ones, make a batch of the same size."""
    return (*(length for length in (64, 256) if length < max_length), max_length)


def _many_texts(length: int) -> Profile:
    most = max(1, _BATCH_TOKENS // length)
    return Profile(Span(1, max(1, most // 2), most), Span(1, max(1, length // 2), length))


def _packed_profiles(max_length: int) -> tuple[Profile, ...]:
    # A text is never alone: at least one filler text holds the filler tokens.
    alone = PackedLayout(max_length).size([max_length])
    few = Span(1, 2, max(_FEW_TEXTS, alone.texts))
    many = Span(_PACKED_TOKENS.least, _PACKED_TOKENS.usual, max(_PACKED_TOKENS.most, alone.tokens))
    return (
        Profile(few, Span(1, min(40, alone.tokens), alone.tokens)),
        Profile(_PACKED_TEXTS, many),
    )


@dataclass(frozen=True)
class EngineOptions:
    """How to build an engine.

    Args:
        profiles: shape ranges; at least one is needed to build.
        compute_capabilities: GPUs to build for, as ``"8.9"``. ``tensorrt_rtx`` only; none: 8.0, 8.6, 8.9 and
            12.0. ``tensorrt`` always builds for the GPU at hand.
        hardware_compatible: let an engine of ``tensorrt`` run on all GPUs from 8.0 on, at some loss of speed.
        strip_weights: leave the weights out; they come back from the graph when the engine is loaded.
            Building so needs a GPU, with ``tensorrt_rtx`` 1.7 too.
        refit: weights can be replaced later.
        workspace_bytes: bound of scratch memory on the GPU; None: all of it.
        timing_cache: file with kernel timings of earlier builds, read and brought up to date (``tensorrt``
            only).
    """

    profiles: tuple[Profile, ...] = ()
    compute_capabilities: tuple[str, ...] = ()
    hardware_compatible: bool = False
    strip_weights: bool = False
    refit: bool = False
    workspace_bytes: int | None = None
    timing_cache: str | None = None
