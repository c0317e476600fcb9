"""The system's limit of open files, of which each connection is one."""

from __future__ import annotations

import logging

from m3e_runtime.errors import OptionError

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["connections_within"]

logger = logging.getLogger(__name__)

_OTHERS = 128
"""Files that are no connections: bundles, figures of workers, the event loop, and what libraries open."""


def connections_within(most: int) -> int:
    """Raise the limit of this process and its workers for ``most`` connections and as many that are refused.

    Returns:
        ``most``, or fewer where the system allows fewer.

    Raises:
        OptionError: it allows none.
    """
    if resource is None:
        return most
    needed = 2 * most + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _covers(soft, needed):
        return most
    allowed = needed if _covers(hard, needed) else hard
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return most
    fewer = (allowed - _OTHERS) // 2
    cure = f"raise the limit to {needed} (`ulimit -n`, systemd's LimitNOFILE, docker's --ulimit nofile)"
    if fewer < 1:
        raise OptionError(f"this process may have {allowed} files open, too few for any connection; {cure}.")
    logger.warning(
        "fewer connections: this process may have too few files open; %s or lower --max-connections",
        cure,
        extra={"fields": {"max_connections": fewer, "asked_for": most, "open_files": allowed}},
    )
    return fewer


def _covers(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
