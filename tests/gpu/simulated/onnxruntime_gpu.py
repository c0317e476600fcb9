"""ONNX Runtime as its GPU package looks: everything is put on the CPU, and what was asked is kept."""

import types

import onnxruntime

from m3e_runtime.gpu import onnxruntime_backend, providers

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class Library(types.SimpleNamespace):
    """The library; ``changes`` are attributes to set."""

    def __init__(self, **changes):
        super().__init__()
        self.__version__ = "1.31.1"
        self.available = ALL
        self.sessions = []
        self.fallbacks = []
        self.starts = True
        self.refuses_recording = None
        self.__dict__.update(changes)
        self.SessionOptions = onnxruntime.SessionOptions
        self.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
        self.RunOptions = lambda: RunOptions()
        self.OrtValue = types.SimpleNamespace(ortvalue_from_shape_and_type=self._allocate)

    def install(self, monkeypatch):
        """Be what the runtime finds; returns itself."""
        for module in (providers, onnxruntime_backend):
            monkeypatch.setattr(module, "load_onnxruntime", lambda: self)
        return self

    def get_available_providers(self):
        return self.available

    def InferenceSession(self, path, settings, providers, enable_fallback=1):  # noqa: N802 - the library's name
        self.fallbacks.append(enable_fallback)
        if self.refuses_recording and providers[0][1].get("enable_cuda_graph") == "1":
            raise RuntimeError(self.refuses_recording)
        session = Session(path, settings, providers[0], self.starts)
        self.sessions.append(session)
        return session

    @staticmethod
    def _allocate(shape, dtype, device, index):
        del index
        assert device == "cuda"
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)


class RunOptions:
    def __init__(self):
        self.entries = {}

    def add_run_config_entry(self, key, value):
        self.entries[key] = value


class Session:
    def __init__(self, path, settings, provider, starts):
        self._session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        self.provider, self.options = provider
        self._starts = starts
        self.runs = []
        self.fails = None

    def get_providers(self):
        return [self.provider, "CPUExecutionProvider"] if self._starts else ["CPUExecutionProvider"]

    def get_inputs(self):
        return self._session.get_inputs()

    def get_outputs(self):
        return self._session.get_outputs()

    def end_profiling(self):
        return self._session.end_profiling()

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding, options):
        if self.fails:
            raise RuntimeError(self.fails)
        self.runs.append((int(options.entries["gpu_graph_id"]), binding))
        self._session.run_with_iobinding(binding)
