"""Writing safetensors files with tensors aligned to cache lines.

The library's writer orders tensors by name and aligns them to 8 bytes. The kernels read the file in place,
and a vector across two cache lines costs two reads. Format:
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["write_safetensors"]

_LINE = 64
_LENGTH_BYTES = 8
_DTYPES = {"int8": "I8", "float16": "F16", "float32": "F32"}


def write_safetensors(
    path: Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write ``tensors``. Equal contents give equal bytes.

    Tensors whose size is a multiple of a cache line come first, so that they are all aligned.
    """
    ordered = sorted(tensors, key=lambda name: tensors[name].nbytes % _LINE != 0)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in ordered:
        tensor = tensors[name]
        end = offset + tensor.nbytes
        header[name] = {
            "dtype": _DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH_BYTES + len(text)) % _LINE)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        file.write(text)
        for name in ordered:
            little = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).data)
