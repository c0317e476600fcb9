"""The signals that end the service."""

from __future__ import annotations

import signal
import threading

__all__ = ["ending_signals"]


def ending_signals() -> list[signal.Signals]:
    """SIGTERM, SIGINT, and SIGHUP unless it is ignored, as ``nohup`` has it; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    found = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found
