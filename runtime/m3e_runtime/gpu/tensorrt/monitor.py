"""The builder's progress and log."""

from __future__ import annotations

import logging
from typing import Any

from m3e_runtime.gpu.tensorrt.package import TensorRT

__all__ = ["make_logger", "make_monitor"]

logger = logging.getLogger(__name__)


def make_logger(trt: TensorRT) -> Any:
    """A logger that logs warnings as information, and keeps errors and the layers of an engine."""
    library = trt.module

    class Logger(library.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                self.errors.append(message.strip())
            elif severity == library.ILogger.WARNING:
                logger.info("%s: %s", trt.name, message.strip())
            elif "LayerType: " in message:
                self.layers.append(message)

    return Logger()


def make_monitor(trt: TensorRT, bar: Any) -> Any:
    """A progress monitor that moves ``bar``: one step for each that an outermost phase completes."""

    class Monitor(trt.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._outermost: set[str] = set()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outermost.add(phase_name)
                bar.total = (bar.total or 0) + num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._outermost:
                bar.update()
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            self._outermost.discard(phase_name)

    return Monitor()
