"""With this folder in PYTHONPATH, a Python process sees a GPU on which ONNX Runtime's graphs run.

They run on the CPU. It rehearses commands that start processes of their own.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from gpu.simulated.onnxruntime_gpu import Library
from m3e_runtime.backends import device
from m3e_runtime.gpu import driver, onnxruntime_backend, providers


def _find_gpu(index=0):
    return driver.Gpu(index, "Simulated GPU", "9.0")


_LIBRARY = Library()
for module in (providers, onnxruntime_backend):
    module.load_onnxruntime = lambda: _LIBRARY
for module in (device, driver):
    module.find_gpu = _find_gpu
