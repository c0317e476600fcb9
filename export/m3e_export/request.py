"""The request of an export, and the names that it may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint.sentence_config import Pooling
from m3e_export.hubs.choice import DEFAULT_HUB, HubName
from m3e_export.oracle.choice import OracleName
from m3e_runtime.gpu.tensorrt import EngineOptions
from m3e_runtime.manifest import Precision

__all__ = ["EXPORTERS", "PRECISIONS", "TARGET_NAMES", "ExportRequest", "ExporterName"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""The most precise first."""
TARGET_NAMES = ("native", "cpu", "portable", "cuda", "cuda-packed", "tensorrt", "tensorrt-rtx")
"""The keys of :data:`m3e_export.targets.TARGETS`, which cannot be imported without the extra ``export``."""

ExporterName = Literal["own", "torch", "optimum", "given"]
EXPORTERS: tuple[ExporterName, ...] = ("own", "torch", "optimum", "given")
"""What writes the graph: this package, another exporter, or nothing (``given``)."""


@dataclass(frozen=True)
class ExportRequest:
    """What to export. The fields are the options of ``m3e-export``.

    No ``targets`` means :func:`m3e_export.targets.default_targets`. ``engine`` holds the options of TensorRT;
    without profiles, those of ``m3e_runtime.gpu.tensorrt.default_profiles`` are used. ``graph`` is the file
    of the exporter ``given``, relative to the checkpoint's folder. ``bfloat16`` says whether the native
    engine may multiply in bfloat16 in fp16, if that passes the gate.
    """

    checkpoint: str
    output: Path
    precisions: tuple[Precision, ...] = ("fp32",)
    targets: tuple[str, ...] = ()
    calibration: Path | None = None
    max_length: int | None = None
    pooling: Pooling | None = None
    gate: str = "default"
    oracle: OracleName = "auto"
    engine: EngineOptions = field(default_factory=EngineOptions)
    force: bool = False
    revision: str | None = None
    hub: HubName = DEFAULT_HUB
    exporter: ExporterName = "own"
    graph: str | None = None
    route: str | None = None
    bfloat16: bool = True
