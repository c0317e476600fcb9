"""Binding of the C++ engine in ``runtime/native``; absent where no compiler was at hand."""

import os

import numpy as np
import numpy.typing as npt

def instruction_sets() -> str:
    """Names of the instruction sets that run here, fastest first, separated by spaces."""

class Stop:
    """Lets another thread end a call."""

    def __init__(self) -> None: ...
    def set(self) -> None:
        """Let the call return soon."""

class NativeEncoder:
    """Weights loaded for one instruction set and a number of threads.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or an argument cannot be used.
        TypeError: an argument of another type. Nothing is converted.
    """

    dimension: int
    hidden_size: int
    max_tokens: int
    vocabulary_size: int
    threads: int
    instruction_set: str

    def __init__(
        self, path: str | bytes | os.PathLike[str], threads: int = 1, instruction_set: str = ""
    ) -> None: ...
    def encode(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        vectors: npt.NDArray[np.float32],
        prompt_lengths: npt.NDArray[np.int64] | None = None,
        stop: Stop | None = None,
        states: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Encode a flat run of ids: int32 ``[tokens]``, int64 ``[texts + 1]`` → float32 ``[texts, d]``.

        ``prompt_lengths``, int64 ``[texts]``: first tokens of each text that are left out of its pooling.
        ``states``, float32 ``[tokens, hidden_size]``: takes the last hidden state of each token.
        The arrays are contiguous, and ``vectors`` and ``states`` are written to. Where a signal's handler
        raises, the call ends with what it raised.

        Raises:
            ValueError: arrays that do not fit together, or a token id that is not in the vocabulary.
            TypeError: an array of another type, shape or order. Nothing is converted.
            RuntimeError: ``stop`` was set.
        """
