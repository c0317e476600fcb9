"""Binding of the C++ engine in ``runtime/native``; absent where no compiler was at hand."""

import numpy as np
import numpy.typing as npt

def instruction_sets() -> str:
    """Names of the instruction sets that run here, fastest first, separated by spaces."""

class NativeEncoder:
    """Weights loaded for one instruction set and a number of threads.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or an argument cannot be used.
    """

    dimension: int
    max_tokens: int
    vocabulary_size: int
    threads: int
    instruction_set: str

    def __init__(self, path: str, threads: int = 1, instruction_set: str = "") -> None: ...
    def encode(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        vectors: npt.NDArray[np.float32],
        prompt_lengths: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Encode a flat run of ids: int32 ``[tokens]``, int64 ``[texts + 1]`` → float32 ``[texts, d]``.

        ``prompt_lengths``, int64 ``[texts]``: first tokens of each text that are left out of its pooling.
        """
