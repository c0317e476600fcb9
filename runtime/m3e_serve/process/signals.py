"""The signals that shut the service down."""

from __future__ import annotations

import signal
import threading

__all__ = ["shutdown_signals"]


def shutdown_signals() -> list[signal.Signals]:
    """SIGTERM, SIGINT, and SIGHUP unless it is ignored, as with ``nohup``. None outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    found = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found
