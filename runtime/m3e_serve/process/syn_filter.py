"""The end of a listening socket, without a reset for a client that is just connecting."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

__all__ = ["ignore_new_connections"]

_SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h; Python's socket module does not name it

_LOAD_FLAGS = (0x30, 0, 0, 13)  # BPF_LD | BPF_B | BPF_ABS: the flags are in byte 13 of a TCP header
_IS_SYN = (0x45, 0, 1, 0x02)  # BPF_JMP | BPF_JSET | BPF_K: go on where SYN is set, else pass one over
_DROP = (0x06, 0, 0, 0)  # BPF_RET | BPF_K: keep no byte
_KEEP = (0x06, 0, 0, 0xFFFFFFFF)


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def ignore_new_connections(listening: socket.socket) -> None:
    """Let the system drop each SYN that ``listening`` gets; handshakes that have begun still end.

    Between the last ``accept`` and ``close`` somebody may connect, and would be reset. Whoever sent a SYN in
    this moment sends it again a second later, and learns then that nobody listens.

    On other systems than Linux, and for Unix sockets, nothing is done.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    code = b"".join(struct.pack("HBBI", *each) for each in (_LOAD_FLAGS, _IS_SYN, _DROP, _KEEP))
    program = _Program(len(code) // 8, code)
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
