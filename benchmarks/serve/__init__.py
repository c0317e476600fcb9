"""``python -m benchmarks.serve``: the service under load, and against those that people write."""
