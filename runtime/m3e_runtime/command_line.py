"""Running a command: exit codes for errors, signals, logging to stderr."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from m3e_runtime import standard_output
from m3e_runtime.errors import M3EError, OutputError
from m3e_runtime.file_names import print_any_name

__all__ = ["run"]

_BY_SIGNAL = 128
"""Shells report a command that a signal ended as 128 plus the signal's number."""


class _Ended(KeyboardInterrupt):
    """Raised by the signal ``number``. It is handled wherever Ctrl-C is."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number = number


def run(
    command: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
) -> int:
    """Parse ``argv``, run ``command``, and turn expected errors into one line and an exit code.

    Exit codes: the command's, or the error's (:mod:`m3e_runtime.errors`); 1 for an ``OSError``; 130 after
    Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. All three signals remove incomplete outputs. A closed pipe
    on standard output is not an error.
    """
    print_any_name()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stopped:  # --help, whose text is still in the buffer
        raise SystemExit(_flush(parser.prog) or stopped.code) from None
    except OSError:  # --help cannot be written: argparse of Python 3.11.2 does not catch that
        raise SystemExit(_flush(parser.prog)) from None
    logging.basicConfig(level=logging.WARNING, format=f"{parser.prog}: %(message)s", stream=sys.stderr)
    with _ending_signals():
        code = _guarded(command, parser.prog, options)
    return _flush(parser.prog) or code


@contextlib.contextmanager
def _ending_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise an exception as Ctrl-C does, unless they are ignored or handled already.

    A second signal of the same kind kills the process.
    """
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in known if here and signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, _end)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise _Ended(number)


def _guarded(command: Callable[[argparse.Namespace], int], name: str, options: argparse.Namespace) -> int:
    try:
        return command(options)
    except M3EError as error:
        _tell(f"{name}: {error}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        ended = interrupt if isinstance(interrupt, _Ended) else _Ended()
        word = "interrupted" if ended.number == signal.SIGINT else "terminated"
        _tell(f"{name}: {'; '.join([word, *_notes(interrupt)])}.")
        return _BY_SIGNAL + ended.number
    except BrokenPipeError:
        standard_output.discard()
        return 0
    except OSError as error:  # it has a reason and a file; a traceback adds nothing
        file = f"{error.filename}: " if error.filename else ""
        _tell(f"{name}: {file}{error.strerror or error}.")
        return OutputError.exit_code


def _notes(error: BaseException) -> list[str]:
    """Notes on the state of outputs, which interrupted code attached by ``add_note``."""
    return list(getattr(error, "__notes__", []))


def _flush(name: str) -> int:
    try:
        standard_output.flush()
    except OSError as error:
        _tell(f"{name}: {OutputError.of('standard output', error)}")
        return OutputError.exit_code
    return 0


def _tell(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # standard error may be closed or full, too
        print(line, file=sys.stderr, flush=True)
