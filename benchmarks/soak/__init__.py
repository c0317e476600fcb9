"""``python -m benchmarks.soak``: the service at more than it can do, among clients that send nonsense."""
