"""The engine's C interface, ``runtime/native/include/m3e.h``, called through ``ctypes``.

Importing this package loads the shared library. It raises an ImportError if the library was not built, cannot
be loaded here, or has another interface.
"""

from m3e_runtime._native.encoder import NativeEncoder, Stop
from m3e_runtime._native.shared_library import instruction_sets

__all__ = ["NativeEncoder", "Stop", "instruction_sets"]
