"""What ends the command with a message."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - it is shown to people as "failed: ..."
    """Something outside this program went wrong. The message says what to do."""
