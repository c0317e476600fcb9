"""Sampling the inputs of a graph's matrices: the graph runs with these inputs as outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from m3e_export.generic.matrices import find_matrices
from m3e_export.graph import save_model
from m3e_export.precision.input_sample import InputSample
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["sample_inputs"]


def sample_inputs(
    model: ir.Model, token_ids: Sequence[TokenIds], tick: Callable[[int], object]
) -> dict[str, InputSample]:
    """The inputs of every matrix by name, over all its products, from one text at a time.

    ``tick`` is called with 1 after each text.
    """
    import onnxruntime

    watched = model.clone()
    matrices = find_matrices(watched.graph)
    inputs = {m.linear.name: [node.inputs[0] for node in m.nodes if node.inputs[0]] for m in matrices}
    distinct = list(dict.fromkeys(value for values in inputs.values() for value in values))
    for value in distinct:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    watched.graph.outputs.extend(distinct)
    samples = {m.linear.name: InputSample(len(m.linear.weight)) for m in matrices}
    with tempfile.TemporaryDirectory() as folder:
        file = save_model(watched, Path(folder) / "watched.onnx")[0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_threads()
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for ids in token_ids:
            row = ids.astype(np.int64)[None, :]
            feed = {"input_ids": row, "attention_mask": np.ones_like(row)}
            found = dict(zip(distinct, session.run([value.name for value in distinct], feed), strict=True))
            for name, values in inputs.items():
                for value in values:
                    samples[name].add(found[value].reshape(-1, found[value].shape[-1]))
            tick(1)
    return samples
