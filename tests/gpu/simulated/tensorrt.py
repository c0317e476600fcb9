"""A TensorRT whose engines are ONNX graphs run by ONNX Runtime, on the simulated driver's memory.

It has the calls that the runtime makes, by the real package's names (a test compares them), and refuses
what the real one refuses: shapes outside the profile, missing addresses, too little scratch memory, and
recording a run whose shape it has not run before.
"""

from __future__ import annotations

import ctypes
import json
import types
from pathlib import Path

import numpy as np
import onnxruntime

SCRATCH = 4096
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class ILogger:
    ERROR, INTERNAL_ERROR, WARNING = range(3)


class TensorIOMode:
    INPUT, OUTPUT = "input", "output"


class ExecutionContextAllocationStrategy:
    USER_MANAGED = "user managed"


class DynamicShapesKernelSpecializationStrategy:
    LAZY, EAGER = "lazy", "eager"


class RuntimeCache:
    def __init__(self):
        self.kernels = b""

    def deserialize(self, blob):
        self.kernels = bytes(blob)
        return True

    def serialize(self):
        return self.kernels


class RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = None

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return RuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            content = json.loads(plan)
        except ValueError:
            self.logger.log(ILogger.ERROR, "Error Code 1: Serialization (magic tag does not match)")
            return None
        return CudaEngine(content, self.logger)


class CudaEngine:
    """``content``: path of the graph, and the profiles: for each input the smallest and largest shape."""

    def __init__(self, content, logger):
        self.profiles = content["profiles"]
        self.logger = logger
        self.session = onnxruntime.InferenceSession(content["graph"], providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.session.get_inputs()]
        self.outputs = content.get("outputs", ["sentence_embedding"])
        self.device_memory_size_v2 = SCRATCH
        self.num_optimization_profiles = len(self.profiles)
        self.num_io_tensors = len(self.names) + len(self.outputs)
        self.contexts = []

    def get_tensor_name(self, index):
        return [*self.names, *self.outputs][index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.names else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        (shape,) = (value.shape for value in self.session.get_outputs() if value.name == name)
        return [size if isinstance(size, int) else -1 for size in shape]

    def get_tensor_dtype(self, name):
        values = (*self.session.get_inputs(), *self.session.get_outputs())
        (kind,) = (value.type for value in values if value.name == name)
        return {"tensor(int64)": "DataType.INT64", "tensor(int32)": "DataType.INT32"}.get(
            kind, "DataType.FLOAT"
        )

    def get_tensor_profile_shape(self, name, profile):
        least, most = self.profiles[profile][name]
        return [least, least, most]

    def create_runtime_config(self):
        return RuntimeConfig()

    def create_execution_context(self, how):
        context = ExecutionContext(self, how)
        self.contexts.append(context)
        return context


class ExecutionContext:
    def __init__(self, engine, how):
        self.engine = engine
        self.how = how
        self.profile = None
        self.scratch = 0
        self.shapes, self.addresses, self.met = {}, {}, set()
        self.kept = []

    def set_device_memory(self, address, size):
        self.scratch = size if address else 0

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile
        return 0 <= profile < self.engine.num_optimization_profiles and stream != 0

    def set_input_shape(self, name, shape):
        least, most = self.engine.profiles[self.profile][name]
        fits = all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        if fits:
            self.shapes[name] = tuple(shape)
        return fits

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name):
        texts = self.shapes.get("cumulative_lengths", (self.shapes["input_ids"][0] + 1,))[0] - 1
        return [texts, *self.engine.get_tensor_shape(name)[1:]]

    def execute_async_v3(self, stream):
        shapes = tuple(sorted(self.shapes.items()))
        if self.scratch < SCRATCH or len(self.shapes) != len(self.engine.names):
            return self._refuse("API Usage Error: memory or shapes are missing")
        if set(self.addresses) != {*self.engine.names, *self.engine.outputs}:
            return self._refuse("API Usage Error: an address is missing")
        driver = ctypes.CDLL("libcuda.so.1")
        if driver.simulated_recording(ctypes.c_void_p(stream)) and shapes not in self.met:
            return self._refuse("Cuda Runtime (operation not permitted when stream is capturing)")
        self.met.add(shapes)
        work = _HOST_FUNCTION(lambda _: self._compute(dict(shapes), dict(self.addresses)))
        self.kept.append(work)
        return driver.cuLaunchHostFunc(ctypes.c_void_p(stream), work, None) == 0

    def _compute(self, shapes, addresses):
        types_ = {value.name: value.type for value in self.engine.session.get_inputs()}
        feed = {}
        for name, shape in shapes.items():
            dtype = np.int64 if "int64" in types_[name] else np.int32
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            feed[name] = np.frombuffer(ctypes.string_at(addresses[name], size), dtype).reshape(shape)
        (vectors,) = self.engine.session.run(["sentence_embedding"], feed)
        ctypes.memmove(addresses["sentence_embedding"], vectors.ctypes.data, vectors.nbytes)

    def _refuse(self, words):
        self.engine.logger.log(ILogger.ERROR, words)
        return False


def make_module(version):
    """A module to stand for ``tensorrt`` or ``tensorrt_rtx``."""
    module = types.SimpleNamespace(**{name: value for name, value in globals().items() if name[0].isupper()})
    module.__version__ = version
    return module


def make_plan(graph: Path, profiles, outputs=("sentence_embedding",)) -> bytes:
    """What this TensorRT takes for a serialized engine."""
    content = {"graph": str(graph), "profiles": profiles, "outputs": list(outputs)}
    return json.dumps(content).encode()
