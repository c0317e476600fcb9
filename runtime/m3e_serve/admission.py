"""Admission of requests: 503 while the service drains, 429 while request bodies fill the memory.

The queue's limits are in :mod:`m3e_runtime.scheduling.admission`. Its errors become 429 and 413 in
:func:`m3e_serve.errors.as_api_error`. :mod:`m3e_serve.connections.protocol` rejects connections beyond the
limit with 503.
"""

from __future__ import annotations

from m3e_serve.errors import shutting_down, too_many_requests

__all__ = ["Admission"]

_FULL_BODIES = 16
"""Bodies of the maximum size that fit into the memory for bodies."""

_SMALL_BODY = 1 << 16  # bytes; a body up to this size is always admitted, as connections are limited


class Admission:
    """Decides which requests the service accepts.

    Args:
        max_body: maximum size of a body, in bytes.

    Attributes:
        draining: whether all new requests are rejected.
        held_bytes: size of the bodies of all requests in flight.
    """

    def __init__(self, max_body: int) -> None:
        self.draining = False
        self.held_bytes = 0
        self._max_held_bytes = _FULL_BODIES * max_body

    def check_open(self) -> None:
        """Reject requests while draining.

        Raises:
            ApiError: 503, the service is draining.
        """
        if self.draining:
            raise shutting_down()

    def reserve(self, size: int, body_size: int) -> None:
        """Reserve memory for ``size`` more bytes of a body, which has ``body_size`` bytes with them.

        Raises:
            ApiError: 429, the bodies in memory are too large together, and this body is not small.
        """
        if body_size > _SMALL_BODY and self.held_bytes + size > self._max_held_bytes:
            raise too_many_requests(
                f"The bodies of other requests take up most of {self._max_held_bytes} bytes; "
                "try again later.",
                retry_after=1,
                close=True,
            )
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Release ``size`` reserved bytes."""
        self.held_bytes -= size
