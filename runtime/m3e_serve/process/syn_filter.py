"""Closing a listening socket without resetting clients that are just connecting."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress

__all__ = ["drop_new_connections"]

_SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h; Python's socket module does not name it

_LOAD_FLAGS = (0x30, 0, 0, 13)  # BPF_LD | BPF_B | BPF_ABS: the flags are in byte 13 of a TCP header
_IS_SYN = (0x45, 0, 1, 0x02)  # BPF_JMP | BPF_JSET | BPF_K: next instruction if SYN is set, else skip one
_DROP = (0x06, 0, 0, 0)  # BPF_RET | BPF_K: keep no byte
_KEEP = (0x06, 0, 0, 0xFFFFFFFF)


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def drop_new_connections(listening: socket.socket) -> None:
    """Make the kernel drop every new SYN to ``listening``. Handshakes that have started still complete.

    A client that connects between the last ``accept`` and ``close`` would be reset. If its SYN is dropped, it
    sends the SYN again a second later and gets "connection refused", which clients handle.

    Does nothing on other systems than Linux, for Unix sockets, and where a sandbox forbids such filters.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    code = b"".join(struct.pack("HBBI", *each) for each in (_LOAD_FLAGS, _IS_SYN, _DROP, _KEEP))
    program = _Program(len(code) // 8, code)
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
