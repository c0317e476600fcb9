"""What the commands share: errors to exit codes, logging to stderr."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from m3e_runtime.errors import M3EError
from m3e_runtime.file_names import print_any_name

__all__ = ["run"]

_INTERRUPTED = 130


def run(
    command: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
) -> int:
    """Parse ``argv``, run ``command``, and turn expected errors into one line and an exit code."""
    print_any_name()
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format=f"{parser.prog}: %(message)s", stream=sys.stderr)
    try:
        return command(options)
    except M3EError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; no file was written.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; do not complain at exit
        return 0
