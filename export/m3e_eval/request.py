"""The request of an evaluation, as :mod:`m3e_export.request` is that of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3e_export.hubs import DEFAULT_HUB, HubName

__all__ = ["EvaluationRequest"]


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate. The fields are the options of ``m3e-eval``.

    No ``artifacts`` means all that can run on this machine.
    """

    bundle: Path
    reference: str | None = None
    suites: tuple[str, ...] = ()
    data: Path | None = None
    tasks: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    golden: bool = False
    threads: int | None = None
    hub: HubName = DEFAULT_HUB
