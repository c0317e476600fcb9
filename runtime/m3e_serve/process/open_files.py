"""The system's limit on open files. Each connection needs one."""

from __future__ import annotations

import logging

from m3e_runtime.errors import OptionError

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["OTHER_FILES", "raise_file_limit"]

logger = logging.getLogger(__name__)

OTHER_FILES = 128
"""Open files that are not connections: bundles, metrics of workers, the event loop, files of libraries."""


def raise_file_limit(max_connections: int) -> int:
    """Raise the limit on open files for ``max_connections`` and as many rejected ones. Workers inherit it.

    Returns:
        The number of connections that the limit allows, at most ``max_connections``.

    Raises:
        OptionError: the limit allows none.
    """
    if resource is None:
        return max_connections
    needed = 2 * max_connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _covers(soft, needed):
        return max_connections
    allowed = needed if _covers(hard, needed) else hard
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return max_connections
    possible = (allowed - OTHER_FILES) // 2
    cure = f"raise the limit to {needed} (`ulimit -n`, systemd's LimitNOFILE, docker's --ulimit nofile)"
    if possible < 1:
        raise OptionError(f"the limit of {allowed} open files is too low for any connection; {cure}.")
    logger.warning(
        "the limit of open files is too low for --max-connections; %s or lower --max-connections",
        cure,
        extra={"fields": {"max_connections": possible, "asked_for": max_connections, "open_files": allowed}},
    )
    return possible


def _covers(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
