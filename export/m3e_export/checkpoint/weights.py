"""Reading weight files: safetensors with numpy, pickles with torch's safe loader only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint.jsonfile import read_object, refuse_pointer
from m3e_export.errors import (
    CheckpointError,
    UnsupportedModelError,
    UntrustedCheckpointError,
)
from m3e_runtime.extras import extra_packages

__all__ = ["Tensors", "graph_files", "has_weights", "load_tensors", "read_tensors", "tensor_names"]

_SAFETENSORS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_NAMES = (_SAFETENSORS, _PICKLE)
_BUFFER_DTYPES = ("I64", "I32", "BOOL")
_PARAMETERS = ("weight", "bias", "gamma", "beta")
"""The last parts of the names of parameters."""

_TORCH_DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.bool": "BOOL",
}
_OTHER_FORMATS = ("tf_model.h5", "flax_model.msgpack", "*.ckpt.index", "*.gguf")
_HEADER_LIMIT = 100 * 1024 * 1024  # the limit of the safetensors format


@dataclass(frozen=True)
class Tensors:
    """The floating-point tensors of a checkpoint as float32 by name, and the SHA-256 of the weight files."""

    arrays: dict[str, npt.NDArray[np.float32]]
    sha256: str


def load_tensors(folder: Path) -> Tensors:
    """Load the weights in ``folder``: safetensors or else pickles, in one file or in shards.

    Buffers of int32, int64 and bool, such as ``position_ids``, are left out: encoders do not compute with
    them.

    Raises:
        CheckpointError: the weights are missing or damaged.
        UnsupportedModelError: a tensor has another dtype, such as that of quantized weights.
        UntrustedCheckpointError: a pickle contains other things than tensors, or a shard lies outside.
        DependencyMissingError: torch, which reads pickles, is not installed.
    """
    files = _weight_files(folder)
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    digest = hashlib.sha256()
    for file in files:
        refuse_pointer(file)
        digest.update(_digest(file))
        arrays.update(read_tensors(file))
    return Tensors(arrays, digest.hexdigest())


def tensor_names(folder: Path) -> Iterator[str]:
    """The names of the tensors that :func:`load_tensors` loads. Of safetensors, only the header is read.

    Raises:
        CheckpointError: see :func:`load_tensors`.
    """
    for file in _weight_files(folder):
        if file.suffix == ".safetensors":
            header, dtypes = _safetensors_header(file)[0], _float_dtypes()
            yield from (name for name, entry in header.items() if entry.get("dtype") in dtypes)
        else:
            yield from (name for name, _ in read_tensors(file))


def read_tensors(file: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """The floating-point tensors of one file, which is a pickle unless its suffix is ``.safetensors``.

    Raises:
        CheckpointError: the file is damaged.
        UntrustedCheckpointError: a pickle contains other things than tensors.
        DependencyMissingError: torch, which reads pickles, is not installed.
    """
    return _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)


def _digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror}).") from error


def has_weights(folder: Path) -> bool:
    """Whether ``folder`` contains weights that :func:`load_tensors` finds."""
    return any((folder / name).is_file() for name in (*_NAMES, *(f"{name}.index.json" for name in _NAMES)))


def graph_files(folder: Path) -> list[Path]:
    """The paths in ``folder`` that other exporters write their ONNX graph to."""
    return [folder / "model.onnx", folder / "onnx" / "model.onnx"]


def _weight_files(folder: Path) -> list[Path]:
    for name in _NAMES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _shards(folder, index)
    graph = next((each for each in graph_files(folder) if each.is_file()), None)
    others = [file.name for pattern in _OTHER_FORMATS for file in sorted(folder.glob(pattern))]
    hint = f"{', '.join(others)} cannot be read." if others else "is this a checkpoint folder?"
    if graph is not None:
        hint = f"there is {graph.relative_to(folder)}: add --exporter given to make a bundle of it."
    raise CheckpointError(f"{folder}: no {' or '.join(_NAMES)} (or their .index.json); {hint}")


def _shards(folder: Path, index: Path) -> list[Path]:
    weight_map = read_object(index, required=True).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index}: no weight_map from tensor names to files.")
    names = sorted(set(weight_map.values()))
    for name in names:
        if name != Path(name).name or name.startswith(".") or "\\" in name:
            raise UntrustedCheckpointError(f"{index}: the shard {name!r} is not a file beside the index.")
        if Path(name).suffix not in (".safetensors", ".bin"):
            raise CheckpointError(f"{index}: the shard {name!r} is neither .safetensors nor .bin.")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: missing, though {index.name} names it.")
    return [folder / name for name in names]


def _read_safetensors(file: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Validate the file with the safetensors library, then map it and view each tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as checked:  # refuses overlaps, gaps and truncation
            names = set(checked.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a valid safetensors file ({error}).") from error
    header, start = _safetensors_header(file)
    dtypes = _float_dtypes()
    data = np.memmap(file, dtype=np.uint8, mode="r", offset=start)
    for name in sorted(names):
        dtype = _dtype(file, name, header[name]["dtype"], dtypes)
        if dtype is None:
            continue
        begin, end = header[name]["data_offsets"]
        values = data[begin:end].view(dtype).reshape(header[name]["shape"])
        yield name, np.asarray(values).astype(np.float32)


def _dtype(file: Path, name: str, dtype: str, floats: dict[str, Any]) -> Any:
    """The numpy type of a tensor; None for a buffer, which is left out."""
    if dtype in floats:
        return floats[dtype]
    if dtype not in _BUFFER_DTYPES or (dtype != "BOOL" and name.rsplit(".", 1)[-1] in _PARAMETERS):
        raise UnsupportedModelError(
            f"{file}: {name} has dtype {dtype}; supported are {', '.join(floats)}. Export the checkpoint as "
            "it was before it was quantized."
        )
    return None


def _float_dtypes() -> dict[str, Any]:
    import ml_dtypes

    return {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def _safetensors_header(file: Path) -> tuple[dict[str, Any], int]:
    with file.open("rb") as stream:
        length = min(int.from_bytes(stream.read(8), "little"), _HEADER_LIMIT)
        header: dict[str, Any] = json.loads(stream.read(length))
    return header, 8 + length


def _read_pickle(file: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    purpose = f"{file.name} is a pickle; reading it safely"
    with extra_packages(purpose, "torch", "torch", hint="Or save the checkpoint as safetensors."):
        import torch
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # errors of pickle, zip and torch share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UntrustedCheckpointError(
            f"{file}: not a plain pickle of tensors; it is not loaded ({reason})."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{file}: not a state dict (tensor names to tensors).")
    floats = _float_dtypes()
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        dtype = str(tensor.dtype)
        if _dtype(file, name, _TORCH_DTYPES.get(dtype, dtype), floats) is not None:
            yield name, tensor.to(torch.float32).numpy()
