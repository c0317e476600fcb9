"""GPUs: the driver, shapes of batches, CUDA, TensorRT, and the two backends that run on them."""
