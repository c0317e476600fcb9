"""Ways to encode texts, each of which :class:`m3e_runtime.Encoder` inherits."""
