"""``m3e-eval``: the artifacts of a bundle and the PyTorch original on the same tasks, scored by mteb."""
