"""What an engine is built for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EngineOptions", "Profile", "Span", "default_profiles"]

_USUAL_TOKENS = 64
_MANY_TEXTS = 64
_USUAL_TEXTS = 32


@dataclass(frozen=True)
class Span:
    """A dimension's smallest, most usual and largest size."""

    least: int
    usual: int
    most: int


@dataclass(frozen=True)
class Profile:
    """A range of input shapes that kernels are chosen for: texts in a run, and tokens of the longest."""

    texts: Span
    tokens: Span


def default_profiles(max_length: int) -> tuple[Profile, ...]:
    """One for latency (a single text, usually short) and one for throughput (many of them)."""
    usual = min(_USUAL_TOKENS, max_length)
    return (
        Profile(Span(1, 1, 1), Span(1, min(32, max_length), max_length)),
        Profile(Span(1, _USUAL_TEXTS, _MANY_TEXTS), Span(1, usual, max_length)),
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
